//! Join tokens: creation, listing, deletion, and their atomic use.
