//! Reading of one field after another, in the byte order of the host.

/// A part of a record.
pub trait Field: Sized {
    /// Takes it off the front of `bytes`; `None` if they are too few.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Field for $type {
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let (first, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(<$type>::from_ne_bytes(*first))
            }
        }
    )*};
}

integers!(u16 u32 u64 i32);

impl<const N: usize> Field for [u8; N] {
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first_chunk()?;
        *bytes = rest;
        Some(*first)
    }
}

impl Field for [u32; 4] {
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some([Field::take(bytes)?, Field::take(bytes)?, Field::take(bytes)?, Field::take(bytes)?])
    }
}
