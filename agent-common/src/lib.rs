#![no_std]
//! ABI
