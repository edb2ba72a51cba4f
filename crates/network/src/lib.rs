//! Sockets: unix now, others later.
