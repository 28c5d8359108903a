//! Passwords: hashing them slowly, one at a time, and remembering a program's for a while.

use crate::guessable;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use tokio::sync::{Semaphore, oneshot};

/// The only account.
pub(crate) const USER: &str = model::ADMIN_USER;
/// Shortest and longest password, in characters and in bytes.
pub(crate) const SHORTEST: usize = 10;
pub(crate) const LONGEST: usize = 128;
/// Attempts that may wait while another one is looked at.
const QUEUE: usize = 4;

fn argon2() -> Result<Argon2<'static>, String> {
    // OWASP's smallest recommended cost: 19 MiB, which one attempt at a time can take of 1 GB.
    let params = Params::new(19_456, 2, 1, None).map_err(|e| e.to_string())?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// The hash that is stored for a password, in PHC form.
///
/// # Errors
/// When the password is too short or too long, or the machine has no random numbers.
pub fn hash_password(password: &str) -> Result<String, String> {
    acceptable(password)?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|e| format!("there are no random numbers: {e}"))?;
    let salt = SaltString::encode_b64(&salt).map_err(|e| e.to_string())?;
    let hash = argon2()?.hash_password(password.as_bytes(), &salt).map_err(|e| e.to_string())?;
    Ok(hash.to_string())
}

/// Is this a password somebody may choose?
pub(crate) fn acceptable(password: &str) -> Result<(), String> {
    if password.chars().count() < SHORTEST {
        return Err(format!("Choose a password of at least {SHORTEST} characters."));
    }
    if password.len() > LONGEST {
        return Err(format!("Choose a password of at most {LONGEST} characters."));
    }
    guessable::why(password).map_or(Ok(()), |why| Err(why.to_owned()))
}

/// Is it a hash in PHC form that a password could match?
pub(crate) fn is_hash(text: &str) -> bool {
    PasswordHash::new(text).is_ok_and(|h| h.algorithm == argon2::ARGON2ID_IDENT && h.hash.is_some())
}

fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .and_then(|hash| Argon2::default().verify_password(password.as_bytes(), &hash))
        .is_ok()
}

/// More wait for the hasher than it will ever get to in time.
#[derive(Debug)]
pub(crate) struct Busy;

/// Hashes one password at a time, off the runtime's thread.
#[derive(Debug)]
pub(crate) struct Hasher {
    turn: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// Counts one who waits, for as long as it waits.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Hasher {
    pub(crate) fn new() -> Self {
        Self { turn: Arc::new(Semaphore::new(1)), waiting: Arc::default() }
    }

    pub(crate) async fn verify(&self, password: &str, hash: &str) -> Result<bool, Busy> {
        if password.len() > LONGEST {
            return Ok(false);
        }
        let (password, hash) = (password.to_owned(), hash.to_owned());
        self.run(move || verify(&password, &hash)).await
    }

    pub(crate) async fn hash(&self, password: &str) -> Result<Result<String, String>, Busy> {
        let password = password.to_owned();
        self.run(move || hash_password(&password)).await
    }

    /// Does slow and costly work of this kind when its turn comes, on a thread that gives way to
    /// everything else of this node.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let before = self.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Place(self.waiting.clone());
        if before > QUEUE {
            return Err(Busy);
        }
        let turn = self.turn.clone().acquire_owned().await.map_err(|_| Busy)?;
        let (done, result) = oneshot::channel();
        // The turn goes along: who gives up waiting does not make two hashes run at once.
        let started = thread::Builder::new().name("password".into()).spawn(move || {
            give_way();
            let result = work();
            drop((turn, place));
            // Nobody waits any more: then nobody needs it.
            let _ = done.send(result);
        });
        started.map_err(|_| Busy)?;
        result.await.map_err(|_| Busy)
    }
}

/// Lets this thread run when nothing else wants to: failover and visitors come first, whoever
/// tries passwords (sched(7), SCHED_BATCH; and the lowest share of what is left).
fn give_way() {
    // SAFETY: plain system calls on this thread; the parameter lives through the call.
    unsafe {
        let batch = libc::sched_param { sched_priority: 0 };
        libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const batch);
        libc::setpriority(libc::PRIO_PROCESS, 0, 19);
    }
}

/// Remembers that a program's credential was right, so that a scraper does not cost a slow hash
/// each time. Only a keyed hash is kept, together with the stored hash it was right for.
#[derive(Debug, Default)]
pub(crate) struct Remembered(Option<(blake3::Hash, String)>);

impl Remembered {
    pub(crate) fn is(&self, key: &[u8; 32], password: &str, stored: &str) -> bool {
        let seen = blake3::keyed_hash(key, password.as_bytes());
        self.0.as_ref().is_some_and(|(known, of)| *known == seen && of == stored)
    }

    pub(crate) fn remember(&mut self, key: &[u8; 32], password: &str, stored: &str) {
        self.0 = Some((blake3::keyed_hash(key, password.as_bytes()), stored.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_verify_and_differ() {
        let a = hash_password("correct horse").unwrap();
        assert!(a.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{a}");
        assert_ne!(a, hash_password("correct horse").unwrap());
        assert!(verify("correct horse", &a));
        assert!(!verify("correct horsf", &a));
        assert!(!verify("", &a) && !verify("x", "not a hash"));
    }

    #[test]
    fn weak_passwords_are_refused() {
        for bad in ["", "short", "123456789", "aaaaaaaaaaaa", &"x y".repeat(60)] {
            assert!(hash_password(bad).is_err(), "{bad}");
        }
        assert!(acceptable("ten chars!").is_ok());
    }

    #[tokio::test]
    async fn the_queue_is_short() {
        let hasher = Arc::new(Hasher::new());
        let hash = hash_password("correct horse").unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (hasher, hash) = (hasher.clone(), hash.clone());
                tokio::spawn(async move { hasher.verify("wrong", &hash).await.is_ok() })
            })
            .collect();
        let mut looked_at = 0;
        for task in tasks {
            looked_at += usize::from(task.await.unwrap());
        }
        assert_eq!(looked_at, QUEUE + 1);
        assert!(hasher.verify("correct horse", &hash).await.unwrap());
    }

    #[test]
    fn what_is_remembered_ends_with_the_password() {
        let (key, mut memory) = ([1; 32], Remembered::default());
        assert!(!memory.is(&key, "p", "hash"));
        memory.remember(&key, "p", "hash");
        assert!(memory.is(&key, "p", "hash"));
        assert!(!memory.is(&key, "q", "hash") && !memory.is(&key, "p", "other"));
    }
}
