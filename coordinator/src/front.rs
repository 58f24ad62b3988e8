//! The API over one bidirectional stream: reads a request head and body, calls the service, writes the answer.
