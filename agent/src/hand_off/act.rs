//! Carries out the moves: the only code of a hand-off that changes anything, without decisions.

use std::io;

use basalt_model::node::Node;

use super::api::{ApiError, Server};
use super::moves::Move;
use super::record::{RECORD_PATH, Record};
use crate::host::files::{self, Attributes, ensure_directory};
use crate::host::systemd::{self, KUBELET_UNIT};
use crate::host::{Host, STATE_DIRECTORY};
use crate::plan::STATE_MODE;

/// A move that failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ActError {
    #[error("cannot {what}")]
    Change { what: String, source: io::Error },
    #[error("cannot {what}: {source}")]
    Ask { what: String, source: ApiError },
}

/// Carries out one move.
///
/// # Errors
/// The move can be repeated; those behind it must not be tried before it has succeeded.
pub(crate) async fn act(
    host: &Host,
    node: &Node,
    it: &Move,
    record: &Record,
) -> Result<(), ActError> {
    let change = |source| ActError::Change { what: it.to_string(), source };
    let private = Attributes { mode: STATE_MODE, owner: host.owner, label: None };
    match it {
        Move::Record { record, .. } => write_record(host, record).map_err(change),
        Move::NoteKubelet { then, .. } => {
            let run = systemd::run_of(host, KUBELET_UNIT).await.map_err(change)?;
            let stage = then.stage(run.unwrap_or_default());
            write_record(host, &record.at(stage)).map_err(change)
        }
        Move::WriteFile { path, mode, contents } => {
            let real = host.path(path);
            let attributes = Attributes { mode: *mode, ..private };
            let folder = real.parent().map_or(Ok(()), |folder| {
                let attributes = Attributes { mode: 0o755, ..private };
                if folder.exists() { Ok(()) } else { ensure_directory(folder, attributes) }
            });
            folder
                .and_then(|()| files::replace(&real, contents.as_bytes(), attributes))
                .map_err(change)
        }
        Move::RemoveFile { path } => files::remove(&host.path(path)).map_err(change),
        Move::RestartKubelet { .. } => systemd::restart(host, KUBELET_UNIT).await.map_err(change),
        Move::Drain { .. } => {
            let draining = async {
                let server = server(host, node)?;
                server.cordon(true).await?;
                server.evict().await
            };
            draining.await.map_err(|source| ActError::Ask { what: it.to_string(), source })
        }
        Move::Uncordon { .. } => {
            let opening = async { server(host, node)?.cordon(false).await };
            opening.await.map_err(|source| ActError::Ask { what: it.to_string(), source })
        }
    }
}

fn server(host: &Host, node: &Node) -> Result<Server, ApiError> {
    let kubernetes = node.kubernetes.as_ref();
    let kubernetes = kubernetes.expect("only nodes with a cluster have moves that ask it");
    Server::of(host, node, kubernetes)
}

fn write_record(host: &Host, record: &Record) -> io::Result<()> {
    let attributes = Attributes { mode: STATE_MODE, owner: host.owner, label: None };
    let folder = host.real(STATE_DIRECTORY);
    if !folder.exists() {
        ensure_directory(&folder, Attributes { mode: 0o700, ..attributes })?;
    }
    files::replace(&host.path(RECORD_PATH), record.to_json().as_bytes(), attributes)
}
