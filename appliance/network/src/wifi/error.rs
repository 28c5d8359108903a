//! What can go wrong between this process and wpa_supplicant.

use std::io;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The socket is gone, or nobody answers in time: connect again.
    #[error("wpa_supplicant does not answer: {0}")]
    Gone(#[from] io::Error),
    /// It understood and refused, or could not.
    #[error("wpa_supplicant refused {0}")]
    Refused(&'static str),
    /// It has no such interface.
    #[error("wpa_supplicant does not have this interface")]
    NoInterface,
    /// A value that cannot be sent. The value itself stays out of the message.
    #[error("the {0} cannot be used: it holds characters or a length that Wi-Fi has not")]
    Value(&'static str),
    /// Its answer makes no sense.
    #[error("wpa_supplicant's answer makes no sense")]
    Nonsense,
}
