//! WS-*: clients that others wrote.
