//! The statistics page of a frontend: what the balancer asks of whoever draws it, and the answer.
//!
//! The balancer serves the page (HAProxy `stats uri`) and knows neither passwords nor templates.

use crate::text::Name;
use crate::units::Millis;
use std::net::IpAddr;

/// Somebody asked for the page.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The frontend's name.
    pub frontend: Name,
    /// Where its page is.
    pub home: String,
    /// What followed that address, such as `;csv;norefresh`.
    pub rest: String,
    /// They wanted to change something (POST).
    pub form: bool,
    /// The value of the field `Authorization`.
    pub authorization: String,
    /// Who asked.
    pub from: IpAddr,
    /// The page loads itself again after so long.
    pub refresh: Option<Millis>,
}

/// What they are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Fields of the head but those about the message's length and the connection.
    pub fields: Vec<(String, String)>,
    /// The content.
    pub body: Vec<u8>,
}
