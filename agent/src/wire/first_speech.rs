//! keepalived starts only where nobody else speaks in its place: its manifest is held back while the wire is listened
//! to, and for as long as something is in the way.

use basalt_model::node::Node;

use crate::apply::Failure;
use crate::host::Host;
use crate::plan::{Step, Why};
use crate::preflight;

/// The pod that speaks.
const KEEPALIVED: &str = "keepalived";

/// Steps, apart from the one that has to wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Gate {
    pub(crate) at_once: Vec<Step>,
    /// Starts keepalived where none was.
    pub(crate) held: Option<Step>,
}

/// Holds the manifest back where none is in place: on the first start, and whenever keepalived is gone for so long that
/// others may have taken its place. A replace goes through: it would leave the address without a holder for nothing.
pub(crate) fn split(host: &Host, steps: &[Step]) -> Gate {
    let is_replaced = steps.iter().any(|step| match step {
        Step::RemoveManifest { path, .. } => path.ends_with("/keepalived.yaml"),
        _ => false,
    });
    let is_held = |step: &Step| match step {
        Step::WriteManifest { pod, reason: Why::New | Why::Missing, .. } => {
            pod.as_str() == KEEPALIVED
        }
        _ => false,
    };
    let mut gate = Gate { at_once: steps.to_vec(), held: None };
    if host.is_this_machine() && !is_replaced {
        gate.held = gate.at_once.iter().position(is_held).map(|index| gate.at_once.remove(index));
    }
    gate
}

/// What is in the way of `step`, found on the network in some seconds.
pub(crate) async fn objections(node: &Node, step: &Step) -> Vec<Failure> {
    let path = step.path().to_owned();
    let failure = |message: String, hint: &str| Failure {
        path: path.clone(),
        message: format!("did not start keepalived, because {message}"),
        hint: Some(hint.to_owned()),
    };
    match preflight::look(node).await {
        Ok(findings) => findings
            .conflicts
            .iter()
            .map(|conflict| failure(conflict.to_string(), conflict.hint()))
            .collect(),
        Err(error) => {
            let cause = std::error::Error::source(&error)
                .map_or_else(String::new, |source| format!(": {source}"));
            vec![failure(format!("it {error}{cause}"), "it is tried again when addresses change")]
        }
    }
}
