//! An interrupt, as data: an action on the node itself that a package asks for
//! (contract §8).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::Error;
use crate::text;

/// An interrupt, as the operator's JSON has it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Interrupt {
    /// Nothing is to be done.
    NoOp {},
    /// The node is to be restarted.
    NodeRestart {},
    /// These services are to be restarted.
    ServiceRestart {
        /// Units, as systemctl names them.
        services: Vec<String>,
    },
    /// All services are to be restarted.
    RestartAllServices {},
    /// The operator knows it; the agent does nothing for it.
    ScriptInterrupt {},
}

impl Interrupt {
    /// Reads the operator's payload: base64 of JSON.
    ///
    /// # Errors
    /// [`Error::Usage`] if it is anything else, or the name of a service is an option
    /// of systemctl or [must not be shown](text::is_unshowable).
    pub fn parse(data: &str) -> Result<Interrupt, Error> {
        let invalid = |problem: String| Error::Usage(format!("interrupt data: {problem}"));
        let json = BASE64_STANDARD
            .decode(data)
            .map_err(|error| invalid(format!("expected base64: {error}")))?;
        // Serde alone would take a list for the fields of an object, in order.
        let interrupt = serde_json::from_slice::<Map<String, Value>>(&json)
            .and_then(|fields| Interrupt::deserialize(Value::Object(fields)))
            .map_err(|error| invalid(format!("expected an interrupt's JSON: {error}")))?;
        match interrupt.services().iter().find_map(|name| refusal(name)) {
            Some(problem) => Err(invalid(problem)),
            None => Ok(interrupt),
        }
    }

    fn services(&self) -> &[String] {
        match self {
            Interrupt::ServiceRestart { services } => services,
            _ => &[],
        }
    }

    /// The type, as the JSON and the flags have it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Interrupt::NoOp {} => "no_op",
            Interrupt::NodeRestart {} => "node_restart",
            Interrupt::ServiceRestart { .. } => "service_restart",
            Interrupt::RestartAllServices {} => "restart_all_services",
            Interrupt::ScriptInterrupt {} => "script_interrupt",
        }
    }

    /// The commands to run, in order.
    #[must_use]
    pub fn commands(&self) -> Vec<Vec<String>> {
        let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        match self {
            Interrupt::NoOp {} | Interrupt::ScriptInterrupt {} => Vec::new(),
            Interrupt::NodeRestart {} => vec![command(&["reboot"])],
            Interrupt::ServiceRestart { services } => {
                let restarts = services
                    .iter()
                    .map(|service| command(&["systemctl", "restart", service]));
                std::iter::once(command(&["systemctl", "daemon-reload"]))
                    .chain(restarts)
                    .collect()
            }
            Interrupt::RestartAllServices {} => {
                vec![command(&["service", "procps", "force-reload"])]
            }
        }
    }
}

/// Says why a service's name cannot be used. The command has no `--` in front of it, so
/// that it is the reference's, byte for byte.
fn refusal(service: &str) -> Option<String> {
    if service.starts_with('-') {
        return Some(format!(
            "expected the name of a service, got the option {service:?}"
        ));
    }
    service.contains(text::is_unshowable).then(|| {
        let service = text::escape(service);
        format!("expected the name of a service without control characters, got {service}")
    })
}
