//! Enumerations that are HAProxy's keywords.

/// An enumeration that is written as one of HAProxy's keywords.
macro_rules! keywords {
    ($(#[$doc:meta])* $name:ident, $what:literal, $($(#[$vdoc:meta])* $variant:ident => $word:literal,)+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$vdoc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// All of them, in the order they are offered.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// HAProxy's keyword.
            pub const fn keyword(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.keyword())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::BadValue;
            fn from_str(text: &str) -> Result<Self, $crate::BadValue> {
                Self::ALL.iter().copied().find(|v| v.keyword() == text).ok_or_else(|| {
                    let known: Vec<_> = Self::ALL.iter().map(|v| v.keyword()).collect();
                    $crate::BadValue::new(format!(
                        concat!("{:?} is no ", $what, "; choose one of {}"),
                        text,
                        known.join(", ")
                    ))
                })
            }
        }
    };
}
pub(crate) use keywords;
