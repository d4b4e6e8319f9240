//! What a connection in clear is called, and the credential that crosses in it, by real clients that talk to real servers.
//!
//! Where Debian and PyPI have no server of a size that fits, a script answers the real client: `peers/protocols/server.py` says which.

mod conversation;
mod databases;
mod directories;
mod mail;
mod media;
mod messages;
mod network;
mod peers;
