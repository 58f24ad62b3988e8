//! Records Event objects, repeated ones by raising their count, and expires them.
