//! What processes that train together say to each other, and how it lies on a connection.
//!
//! A message is a length, its words as JSON, and the bytes of arrays if it has some: words are few and may change from version to version,
//! arrays are many and go as they are. Until a process has shown that it knows the token, no more than a short line is read from it.

use std::borrow::Cow;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::algorithms::NamedArrays;
use crate::array::{ArrayType, HostArray};

/// The most bytes of the words of a message.
const LONGEST: u32 = 16 << 20;
/// The same of a process that is not known yet.
pub const LONGEST_OF_STRANGER: u32 = 4096;

/// What a process says of itself when it comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    pub version: String,
    pub rank: usize,
    pub size: usize,
    /// That it knows the token: see `meeting`.
    pub proof: String,
    /// The name of its machine, for people.
    pub host: String,
    /// What tells its machine from others.
    pub machine: String,
    pub process: u32,
    /// Where it takes connections of other ranks.
    pub port: u16,
}

/// What is said on a connection to rank 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Word {
    /// The first word of rank 0: what a proof is made with.
    Challenge(String),
    Hello(Hello),
    /// Why a process cannot take part.
    Refused(String),
    /// What rank 0 has made of its command line, and where the run is.
    Welcome {
        settings: String,
        directory: String,
    },
    /// That a process could make the same of its own, or why not; what it trains on.
    Ready {
        problem: Option<String>,
        facts: Vec<(String, String)>,
    },
    /// Where the ranks are reached; the number of the one that is told among those on its machine, and how many these are.
    Peers {
        addresses: Vec<String>,
        here: (usize, usize),
        session: String,
    },
    /// A sign of life.
    Beat,
    /// Somebody has asked a process other than rank 0 to stop, or to save.
    Stop,
    Save,
    /// Why a process leaves.
    Failed(String),
    /// All is done.
    End,
    Order(Order),
    Answer(Answer),
    /// Asks for the note of that name (its bytes in hexadecimal), or leaves the bytes that follow as one.
    Note {
        number: u64,
        name: String,
        leaves: bool,
    },
    /// What came of that: the note follows, there is none, or it cannot be left.
    Noted {
        number: u64,
        found: bool,
        problem: Option<String>,
    },
}

/// What rank 0 has the others do with their learners, as it does with its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Order {
    Run {
        updates: usize,
    },
    /// Give the state of your devices.
    State,
    /// Take these arrays as the state of your devices.
    Load(Vec<(String, ArrayType)>),
    /// Take these arrays as parameters.
    LoadParams(Vec<(String, ArrayType)>),
    Reseed {
        attempt: u32,
    },
    /// Say which value is first not finite.
    Diagnose,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    State(Vec<(String, ArrayType)>),
    Diagnosis(Option<String>),
}

/// A connection on which several threads may speak, and one listens.
pub struct Line {
    stream: TcpStream,
    speaking: Mutex<()>,
}

impl Line {
    pub fn new(stream: TcpStream) -> io::Result<Line> {
        stream.set_nodelay(true)?;
        Ok(Line { stream, speaking: Mutex::new(()) })
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub fn say(&self, word: &Word) -> io::Result<()> {
        self.say_with(word, &[])
    }

    /// Says a word and gives the bytes of arrays with it.
    pub fn say_with(&self, word: &Word, arrays: &[(String, HostArray)]) -> io::Result<()> {
        self.say_and_give(word, arrays.iter().map(|(_, array)| array.to_bytes()))
    }

    /// Says a word and gives bytes with it.
    pub fn say_and_give<'a>(
        &self,
        word: &Word,
        mut parts: impl Iterator<Item = Cow<'a, [u8]>> + Clone,
    ) -> io::Result<()> {
        let text = serde_json::to_vec(word)?;
        let bytes: u64 = parts.clone().map(|part| part.len() as u64).sum();
        let _guard = self.speaking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stream = &self.stream;
        let head = [&(text.len() as u32).to_le_bytes()[..], &bytes.to_le_bytes(), &text].concat();
        stream.write_all(&head)?;
        parts.try_for_each(|part| stream.write_all(&part))
    }

    /// The next word, and the bytes of the arrays with it.
    pub fn hear(&self) -> io::Result<(Word, Vec<u8>)> {
        self.hear_up_to(LONGEST, u64::MAX)
    }

    /// The next word, if it is short and without arrays.
    pub fn hear_stranger(&self) -> io::Result<Word> {
        Ok(self.hear_up_to(LONGEST_OF_STRANGER, 0)?.0)
    }

    fn hear_up_to(&self, longest: u32, most: u64) -> io::Result<(Word, Vec<u8>)> {
        let odd = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what);
        let (mut stream, mut head) = (&self.stream, [0; 12]);
        stream.read_exact(&mut head)?;
        let [a, b, c, d, size @ ..] = head;
        let (length, size) = (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(size));
        if length > longest || size > most {
            return Err(odd("it says too much"));
        }
        let mut text = vec![0; length as usize];
        stream.read_exact(&mut text)?;
        let word = serde_json::from_slice(&text).map_err(|_| odd("it says what no lockstep says"))?;
        let mut bytes = Vec::new(); // grows with what is really there
        stream.take(size).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok((word, bytes))
    }
}

/// Names and types of arrays.
pub fn types_of(arrays: &[(String, HostArray)]) -> Vec<(String, ArrayType)> {
    arrays.iter().map(|(name, array)| (name.clone(), array.array_type())).collect()
}

/// Arrays of those names and types, from their bytes one after the other; nothing if these do not fit.
pub fn arrays_of(types: &[(String, ArrayType)], mut bytes: &[u8]) -> Option<NamedArrays> {
    let mut arrays = NamedArrays::new();
    for (name, array_type) in types {
        let (own, rest) = bytes.split_at_checked(array_type.size() * array_type.dtype.size())?;
        arrays.push((name.clone(), HostArray::from_bytes(array_type, own)?));
        bytes = rest;
    }
    bytes.is_empty().then_some(arrays)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Line, Line) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Line::new(one).unwrap(), Line::new(listener.accept().unwrap().0).unwrap())
    }

    #[test]
    fn words_and_arrays_arrive_as_they_are() {
        let (one, other) = pair();
        let arrays = vec![
            ("a".to_owned(), HostArray::new(&[2, 3], vec![1.5f32; 6])),
            ("b".to_owned(), HostArray::scalar(7i32)),
        ];
        let word = Word::Order(Order::Load(types_of(&arrays)));
        one.say_with(&word, &arrays).unwrap();
        one.say(&Word::Beat).unwrap();
        let (heard, bytes) = other.hear().unwrap();
        assert_eq!(heard, word);
        assert_eq!(arrays_of(&types_of(&arrays), &bytes), Some(arrays.clone()));
        assert_eq!(arrays_of(&types_of(&arrays), &bytes[1..]), None);
        assert_eq!(other.hear().unwrap(), (Word::Beat, vec![]));
    }

    #[test]
    fn strangers_are_brief() {
        for message in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, b'{'], &[1; 12]]
        {
            let (one, other) = pair();
            (&one.stream).write_all(message).unwrap();
            drop(one);
            assert!(other.hear_stranger().is_err());
        }
    }
}
