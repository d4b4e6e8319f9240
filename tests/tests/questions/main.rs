//! Questions about a history: the expected answer of each, of a copied file and of a running daemon, at rest and under load.

mod asked;
mod copied;
mod live;
mod load;
