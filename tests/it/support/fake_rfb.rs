//! The server's side of RFB 3.8 (RFC 6143), as strict as can be: it shows one colour to whoever does no more than look,
//! and tells on every message of input, on another security type than its own, and on a format that nobody asked for.

use std::collections::VecDeque;

/// A screen that a fake desktop shows.
#[derive(Clone, Copy, Debug)]
pub struct FakeScreen {
    pub width: u16,
    pub height: u16,
    /// Blue, green, red.
    pub colour: [u8; 3],
    /// The security type: 1 for none, 2 for VNC authentication with an empty password.
    pub security: u8,
}

impl Default for FakeScreen {
    fn default() -> Self {
        Self {
            width: 640,
            height: 400,
            colour: [200, 100, 10],
            security: 1,
        }
    }
}

impl FakeScreen {
    /// An update of all of it.
    pub fn update(self) -> Vec<u8> {
        let mut bytes = vec![0, 0, 0, 1, 0, 0, 0, 0];
        bytes.extend(self.width.to_be_bytes());
        bytes.extend(self.height.to_be_bytes());
        bytes.extend([0; 4]);
        let [blue, green, red] = self.colour;
        let count = usize::from(self.width) * usize::from(self.height);
        bytes.extend([blue, green, red, 0].repeat(count));
        bytes
    }

    /// What a client is told of it, with a name.
    fn greeting(self) -> Vec<u8> {
        let mut bytes = self.width.to_be_bytes().to_vec();
        bytes.extend(self.height.to_be_bytes());
        // Not the format that is going to be asked for.
        bytes.extend([16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0]);
        bytes.extend(4_u32.to_be_bytes());
        bytes.extend(b"fake");
        bytes
    }
}

/// What is expected of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Version,
    Security,
    Response,
    Init,
    Message,
}

/// One connection, whose greeting was sent.
pub struct FakeRfb {
    screen: FakeScreen,
    expected: Expected,
    inbox: VecDeque<u8>,
    formatted: bool,
    pub violations: Vec<String>,
}

impl FakeRfb {
    pub fn new(screen: FakeScreen) -> Self {
        Self {
            screen,
            expected: Expected::Version,
            inbox: VecDeque::new(),
            formatted: false,
            violations: Vec::new(),
        }
    }

    fn broken(&mut self, rule: &str, detail: impl std::fmt::Debug) {
        self.violations.push(format!("rfb-{rule}: {detail:?}"));
    }

    fn peek(&self, at: usize) -> usize {
        self.inbox.get(at).copied().unwrap_or_default().into()
    }

    /// How long the next message is, as far as its beginning tells.
    fn length(&self) -> usize {
        match (self.expected, self.peek(0)) {
            (Expected::Version, _) => 12,
            (Expected::Response, _) => 16,
            (Expected::Message, 0) => 20,
            (Expected::Message, 2) if self.inbox.len() >= 4 => {
                4 + 4 * (self.peek(2) * 256 + self.peek(3))
            }
            (Expected::Message, 2) => 4,
            (Expected::Message, 3) => 10,
            (Expected::Security | Expected::Init | Expected::Message, _) => 1,
        }
    }

    /// Takes bytes of the client; what it is answered.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.inbox.extend(bytes);
        let mut answer = Vec::new();
        while !self.inbox.is_empty() && self.inbox.len() >= self.length() {
            let message: Vec<u8> = self.inbox.drain(..self.length()).collect();
            self.step(&message, &mut answer);
        }
        answer
    }

    fn step(&mut self, message: &[u8], answer: &mut Vec<u8>) {
        match self.expected {
            Expected::Version => {
                if message != b"RFB 003.008\n" {
                    self.broken("version", message);
                }
                answer.extend([1, self.screen.security]);
                self.expected = Expected::Security;
            }
            Expected::Security => {
                if message != [self.screen.security] {
                    self.broken("security", message);
                }
                if self.screen.security == 2 {
                    answer.extend([0; 16]);
                    self.expected = Expected::Response;
                } else {
                    self.accept(answer);
                }
            }
            Expected::Response => {
                // DES of zeros with a key of zeros.
                let block = [0x8c, 0xa6, 0x4d, 0xe9, 0xc1, 0xb1, 0x23, 0xa7];
                if message != [block, block].concat() {
                    self.broken("response", message);
                }
                self.accept(answer);
            }
            Expected::Init => {
                if message != [1] {
                    self.broken("others-disconnected", message);
                }
                answer.extend(self.screen.greeting());
                self.expected = Expected::Message;
            }
            Expected::Message => self.message(message, answer),
        }
    }

    fn accept(&mut self, answer: &mut Vec<u8>) {
        answer.extend([0; 4]);
        self.expected = Expected::Init;
    }

    fn message(&mut self, message: &[u8], answer: &mut Vec<u8>) {
        match message[0] {
            0 => {
                let wanted = [32, 24, 0, 1, 0, 255, 0, 255, 0, 255, 16, 8, 0];
                if message[4..17] != wanted {
                    self.broken("pixel-format", message);
                }
                self.formatted = true;
            }
            2 => {
                let named = message[4..]
                    .chunks(4)
                    .map(|four| i32::from_be_bytes(four.try_into().expect("four bytes")));
                let odd: Vec<i32> = named.filter(|one| ![0, -223, -224].contains(one)).collect();
                if !odd.is_empty() {
                    self.broken("encodings", odd);
                }
            }
            3 => {
                if !self.formatted {
                    self.broken("early-request", message);
                }
                // What changes is pushed by the test.
                if message[1] == 0 {
                    answer.extend(self.screen.update());
                }
            }
            other => self.broken("input", other),
        }
    }
}
