//! Goes through the requests that a send(2) to the kernel brings, and answers each. netlink(7).

use super::message::{self, AckOptions, Raw, Refusal};
use super::port::{Message, Port};
use super::route;
use abi::Errno;
use abi::netlink::{
    NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK, NETLINK_ROUTE, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST,
    NLMSG_MIN_TYPE,
};

/// Requests that one send(2) may bring: each may have many to tell, and nothing ends the call meanwhile. Programs send some hundred at most.
const MAX_REQUESTS: usize = 1024;

/// What a request comes to.
pub enum Answer {
    /// Nothing but an acknowledgement, where one is asked for.
    Done,
    /// One message.
    One(Vec<u8>),
    /// All messages of a dump, and flags for its end.
    Dump(Vec<Vec<u8>>, u16),
}

/// A request as those who serve it see it.
pub struct Request<'a> {
    pub raw: Raw<'a>,
    /// The number of the socket that asks.
    pub number: u32,
    pub port: &'a Port,
    /// CAP_NET_ADMIN over the namespace.
    pub privileged: bool,
    /// NETLINK_GET_STRICT_CHK.
    pub strict: bool,
}

impl Request<'_> {
    pub fn wants_dump(&self) -> bool {
        self.raw.header.nlmsg_flags & NLM_F_DUMP == NLM_F_DUMP
    }
}

/// Serves what socket `number` sent. ENOBUFS comes back where that is too much.
pub fn serve(port: &Port, number: u32, privileged: bool, data: &[u8]) {
    let (options, strict) = {
        let state = port.state.lock();
        let options = AckOptions { capped: state.has(NETLINK_CAP_ACK), extended: state.has(NETLINK_EXT_ACK) };
        (options, state.has(NETLINK_GET_STRICT_CHK))
    };
    for (at, raw) in message::messages(data).enumerate() {
        let header = raw.header;
        if at == MAX_REQUESTS {
            port.lose();
            return;
        }
        let request = Request { raw, number, port, privileged, strict };
        let asked = header.nlmsg_flags & NLM_F_REQUEST != 0 && header.nlmsg_type >= NLMSG_MIN_TYPE;
        let answer = match (asked, port.protocol) {
            (false, _) => Ok(Answer::Done),
            (true, NETLINK_ROUTE) => route::serve(&request),
            // Events are the kernel's to send.
            (true, _) => Err(Errno::EOPNOTSUPP.into()),
        };
        let result = answer.and_then(|answer| give(&request, answer, options));
        match result {
            Ok(true) => {}
            Ok(false) if header.nlmsg_flags & NLM_F_ACK == 0 => {}
            Ok(false) => port.deliver(Message::of_kernel(message::ack(&raw, number, Ok(()), options), 0)),
            Err(refusal) => port.deliver(Message::of_kernel(message::ack(&raw, number, Err(refusal), options), 0)),
        }
    }
}

/// Delivers an answer. True where it needs no acknowledgement: a dump has an end of its own.
fn give(request: &Request<'_>, answer: Answer, options: AckOptions) -> Result<bool, Refusal> {
    match answer {
        Answer::Done => Ok(false),
        Answer::One(bytes) => {
            request.port.deliver(Message::of_kernel(bytes, 0));
            Ok(false)
        }
        Answer::Dump(messages, flags) => {
            let parts = message::dump(&request.raw, request.number, Ok((messages, flags)), options);
            request.port.dump(parts)?;
            Ok(true)
        }
    }
}
