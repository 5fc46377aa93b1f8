//! A client of RFB 3.8 (RFC 6143) that only looks. Pure: it is fed the bytes of a server, however they are cut, and
//! says what to send. The messages by which a client types, points or pastes (4, 5 and 6) do not exist here.
//!
//! The server is in the hands of whoever uses the desktop, so each number that it says is checked before it is used.

use std::sync::Arc;

use des::Des;
use des::cipher::{BlockEncrypt, KeyInit};

use super::screen::{Rect, Screen};

/// The version, of both sides (section 7.1.1).
const VERSION: &[u8; 12] = b"RFB 003.008\n";
/// Longest name of a desktop, bytes.
const MAX_NAME: u32 = 64 * 1024;
/// What a server may send for one picture, bytes: the largest screen twice.
const MAX_UPDATE: usize = 64 << 20;
/// Updates without a pixel in answer to one request.
const MAX_EMPTY: u8 = 16;

/// Security types (section 7.1.2).
const NO_SECURITY: u8 = 1;
const VNC_AUTHENTICATION: u8 = 2;

/// Encodings (section 7.7). `LastRect` is of the community's specification: the count of rectangles is then not known
/// when an update begins.
const RAW: i32 = 0;
const DESKTOP_SIZE: i32 = -223;
const LAST_RECT: i32 = -224;
/// The count that says so.
const UNCOUNTED: u16 = 0xffff;

/// Why a server cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RfbError {
    /// Another protocol, or another version of it.
    #[error("it does not speak RFB 3.8")]
    Version,
    /// It wants more than we have: no security, or a password that is empty.
    #[error("it has no security type that we know")]
    Security,
    /// It does not let us in.
    #[error("it refuses us")]
    Refused,
    /// A screen without pixels, or with too many.
    #[error("its screen is {0} x {1} pixels")]
    Size(u16, u16),
    /// A rectangle that is not on its screen.
    #[error("it sends pixels beside its screen")]
    Outside,
    /// An encoding that was not asked for.
    #[error("it sends the encoding {0}, which was not asked for")]
    Encoding(i32),
    /// A message whose length is unknown, so that nothing behind it can be read.
    #[error("it sends the message {0}, which was not asked for")]
    Message(u8),
    /// A text that no server needs.
    #[error("it sends a text of {0} bytes")]
    Text(u32),
    /// More than one picture can take.
    #[error("it sends more than a picture needs")]
    TooMuch,
    /// Updates in which nothing is.
    #[error("it sends no pixels")]
    Empty,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum State {
    Version,
    SecurityCount,
    SecurityTypes(u8),
    Challenge,
    SecurityResult,
    Init,
    /// So many bytes that are of no interest, then a message.
    Skip(u64),
    Message,
    UpdateHead,
    /// The head of a rectangle; how many are left, this one included. `None`: until it says so.
    RectHead(Option<u16>),
    /// Pixels of a rectangle, of which so many bytes have come, and what is left behind it.
    Pixels(Rect, usize, Option<u16>),
    ColoursHead,
    CutTextHead,
}

impl State {
    /// How many bytes say what to do.
    const fn length(self) -> usize {
        match self {
            Self::SecurityCount | Self::Message => 1,
            Self::SecurityTypes(count) => count as usize,
            Self::UpdateHead => 3,
            Self::SecurityResult => 4,
            Self::ColoursHead => 5,
            Self::CutTextHead => 7,
            Self::Version | Self::RectHead(_) => 12,
            Self::Challenge => 16,
            Self::Init => 24,
            Self::Skip(_) | Self::Pixels(..) => 0,
        }
    }
}

/// One connection to a server.
#[derive(Debug)]
pub struct Client {
    state: State,
    /// The beginning of what is not whole yet, at most 255 bytes.
    held: Vec<u8>,
    /// What the server is to be told.
    unsent: Vec<u8>,
    /// What is on its screen. Shared with whoever makes a picture of it.
    screen: Arc<Screen>,
    /// Bytes since the last request.
    spent: usize,
    /// Updates without a pixel since the last request.
    empty: u8,
    painted: bool,
    resized: bool,
}

impl Client {
    /// A client on a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Version,
            held: Vec::new(),
            unsent: Vec::new(),
            screen: Arc::default(),
            spent: 0,
            empty: 0,
            painted: false,
            resized: false,
        }
    }

    /// What is on the screen, once [`Self::feed`] has said that there is a picture.
    #[must_use]
    pub fn screen(&self) -> &Arc<Screen> {
        &self.screen
    }

    /// What the server is to be told now.
    pub fn take_unsent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.unsent)
    }

    /// Asks for what changes from now on. The first picture, which is the whole screen, is asked for unasked.
    pub fn ask(&mut self) {
        self.spent = 0;
        self.empty = 0;
        self.request(true);
    }

    /// Takes bytes of the server off the front of `bytes`, all of them or up to the end of a picture; then it is true.
    ///
    /// # Errors
    /// The server cannot be followed. Nothing more can be read from this connection.
    pub fn feed(&mut self, bytes: &mut &[u8]) -> Result<bool, RfbError> {
        let before = bytes.len();
        let fed = self.read(bytes);
        self.spent = self.spent.saturating_add(before - bytes.len());
        if self.spent > MAX_UPDATE {
            return Err(RfbError::TooMuch);
        }
        fed
    }

    fn read(&mut self, bytes: &mut &[u8]) -> Result<bool, RfbError> {
        loop {
            match self.state {
                State::Skip(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX);
                    let taken = take(bytes, count).len() as u64;
                    if taken < left {
                        self.state = State::Skip(left - taken);
                        return Ok(false);
                    }
                    self.state = State::Message;
                }
                State::Pixels(rect, done, left) => {
                    let pixels = take(bytes, rect.bytes() - done);
                    Arc::make_mut(&mut self.screen).paint(rect, done, pixels);
                    let done = done + pixels.len();
                    if done < rect.bytes() {
                        self.state = State::Pixels(rect, done, left);
                        return Ok(false);
                    }
                    self.painted |= done > 0;
                    if self.next_rect(left)? {
                        return Ok(true);
                    }
                }
                state => {
                    let missing = state.length() - self.held.len();
                    self.held.extend_from_slice(take(bytes, missing));
                    if self.held.len() < state.length() {
                        return Ok(false);
                    }
                    let item = std::mem::take(&mut self.held);
                    if self.step(state, &item)? {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Goes on with an item that is whole; true at the end of a picture.
    fn step(&mut self, state: State, item: &[u8]) -> Result<bool, RfbError> {
        self.state = match state {
            State::Version if item == VERSION => {
                self.unsent.extend_from_slice(VERSION);
                State::SecurityCount
            }
            State::Version => return Err(RfbError::Version),
            State::SecurityCount if item == [0] => return Err(RfbError::Refused),
            State::SecurityCount => State::SecurityTypes(item[0]),
            State::SecurityTypes(_) if item.contains(&NO_SECURITY) => {
                self.unsent.push(NO_SECURITY);
                State::SecurityResult
            }
            State::SecurityTypes(_) if item.contains(&VNC_AUTHENTICATION) => {
                self.unsent.push(VNC_AUTHENTICATION);
                State::Challenge
            }
            State::SecurityTypes(_) => return Err(RfbError::Security),
            State::Challenge => {
                self.unsent.extend_from_slice(&respond(item));
                State::SecurityResult
            }
            State::SecurityResult if u32_at(item, 0) == 0 => {
                // Others stay connected (section 7.3.1).
                self.unsent.push(1);
                State::Init
            }
            State::SecurityResult => return Err(RfbError::Refused),
            State::Init => self.init(item)?,
            State::Message => match item[0] {
                0 => State::UpdateHead,
                1 => State::ColoursHead,
                // A bell.
                2 => State::Message,
                3 => State::CutTextHead,
                other => return Err(RfbError::Message(other)),
            },
            // Six bytes each. With true colours they mean nothing.
            State::ColoursHead => State::Skip(u64::from(u16_at(item, 3)) * 6),
            // What is in a pupil's clipboard is nobody's business: it is passed over, and never held.
            State::CutTextHead => match u32_at(item, 3) {
                length if length as usize > MAX_UPDATE => return Err(RfbError::Text(length)),
                length => State::Skip(u64::from(length)),
            },
            State::UpdateHead => {
                self.painted = false;
                let count = u16_at(item, 1);
                return self.next_rect((count != UNCOUNTED).then_some(count));
            }
            State::RectHead(left) => return self.rect(item, left),
            State::Skip(_) | State::Pixels(..) => state,
        };
        Ok(false)
    }

    /// The server's word on its screen (section 7.3.2). Answered with what we want to have of it.
    fn init(&mut self, item: &[u8]) -> Result<State, RfbError> {
        self.resize(u16_at(item, 0), u16_at(item, 2))?;
        let name = u32_at(item, 20);
        if name > MAX_NAME {
            return Err(RfbError::Text(name));
        }
        // SetPixelFormat: 32 bits, true colours, blue first.
        let format = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0, 0, 0, 0];
        self.unsent.extend_from_slice(&[0, 0, 0, 0]);
        self.unsent.extend_from_slice(&format);
        // SetEncodings.
        self.unsent.extend_from_slice(&[2, 0, 0, 3]);
        for encoding in [RAW, DESKTOP_SIZE, LAST_RECT] {
            self.unsent.extend_from_slice(&encoding.to_be_bytes());
        }
        self.resized = false;
        self.request(false);
        Ok(State::Skip(u64::from(name)))
    }

    /// `FramebufferUpdateRequest` for the whole screen (section 7.5.3).
    fn request(&mut self, incremental: bool) {
        let (width, height) = self.screen.size();
        self.unsent
            .extend_from_slice(&[3, u8::from(incremental), 0, 0, 0, 0]);
        self.unsent.extend_from_slice(&width.to_be_bytes());
        self.unsent.extend_from_slice(&height.to_be_bytes());
    }

    fn resize(&mut self, width: u16, height: u16) -> Result<(), RfbError> {
        let screen = Screen::new(width, height).ok_or(RfbError::Size(width, height))?;
        self.screen = Arc::new(screen);
        self.resized = true;
        Ok(())
    }

    /// A rectangle's head (section 7.6.1).
    fn rect(&mut self, item: &[u8], left: Option<u16>) -> Result<bool, RfbError> {
        let [x, y, width, height] = [0, 2, 4, 6].map(|at| u16_at(item, at));
        let behind = left.map(|count| count.saturating_sub(1));
        match i32::from_be_bytes([item[8], item[9], item[10], item[11]]) {
            RAW => {
                let rect = self.screen.rect((x, y), (width, height));
                let rect = rect.ok_or(RfbError::Outside)?;
                self.state = State::Pixels(rect, 0, behind);
                Ok(false)
            }
            DESKTOP_SIZE => {
                if (width, height) != self.screen.size() {
                    self.resize(width, height)?;
                }
                self.next_rect(behind)
            }
            LAST_RECT => self.next_rect(Some(0)),
            other => Err(RfbError::Encoding(other)),
        }
    }

    /// Goes on behind a rectangle; true at the end of a picture.
    fn next_rect(&mut self, left: Option<u16>) -> Result<bool, RfbError> {
        if left != Some(0) {
            self.state = State::RectHead(left);
            return Ok(false);
        }
        self.state = State::Message;
        if self.painted && !self.resized {
            return Ok(true);
        }
        self.empty += 1;
        if self.empty > MAX_EMPTY {
            return Err(RfbError::Empty);
        }
        // A screen of another size has to be drawn from the beginning.
        let whole = std::mem::take(&mut self.resized);
        self.request(!whole);
        Ok(false)
    }
}

/// At most `count` bytes off the front.
fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (front, rest) = bytes.split_at(count.min(bytes.len()));
    *bytes = rest;
    front
}

fn u16_at(item: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([item[at], item[at + 1]])
}

fn u32_at(item: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([item[at], item[at + 1], item[at + 2], item[at + 3]])
}

/// The answer of somebody whose password is empty (section 7.2.2). KasmVNC asks for that although the door is another:
/// the credentials of the request that opened the WebSocket.
fn respond(challenge: &[u8]) -> Vec<u8> {
    let cipher = Des::new(&[0; 8].into());
    let mut response = challenge.to_vec();
    for block in response.chunks_exact_mut(8) {
        cipher.encrypt_block(block.into());
    }
    response
}

#[cfg(test)]
#[path = "rfb_tests.rs"]
mod tests;
