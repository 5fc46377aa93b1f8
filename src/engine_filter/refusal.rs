//! Why something is kept from the engine. The texts are for the gateway's log and for an administrator; they name what is
//! wrong and never show a value, since values hold passwords.

use hyper::Method;

/// Why something is not let through.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0} {1} is nothing that a gateway asks")]
    Call(Method, String),
    #[error("the parameter {0:?} is not let through like that")]
    Parameter(String),
    #[error("the list has to be narrowed down to the label deskgate.instance of this installation")]
    Filters,
    #[error("the body is not the JSON that belongs to this call")]
    Body,
    #[error("the body is larger than {0} bytes")]
    Length(usize),
    #[error("the label deskgate.instance does not say that this is of this installation")]
    Instance,
    #[error("no template of this configuration has the id that the label deskgate.template says")]
    Template,
    #[error("the labels do not say whose this is")]
    Owner,
    #[error("the name is not the one that belongs to the labels")]
    Name,
    #[error("a port outside PORT_RANGE, or none")]
    Port,
    #[error(
        "no template of this configuration has this image; add one, or pull it on the engine's host"
    )]
    Image,
    #[error("{0} is not as the configuration says")]
    Member(String),
    #[error("no template has this command")]
    Command,
    #[error("this {0} is not of this installation")]
    Foreign(&'static str),
}
