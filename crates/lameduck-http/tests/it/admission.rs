//! P4, A*: who is let in, and when nobody is any more.
