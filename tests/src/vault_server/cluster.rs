//! Three servers that share their data: one leads, two stand by.

use anyhow::{Context, Result};
use serde_json::json;

use super::{Authority, Member, Place, START_LIMIT, VaultServer};
use crate::peers::Peer;
use crate::wait;

/// A raft cluster of three. Dropped, all of it is gone.
#[derive(Debug)]
pub struct VaultCluster {
    /// Its servers. The first was the leader at the start; see [`VaultCluster::leader`].
    pub servers: Vec<VaultServer>,
}

impl VaultCluster {
    /// Three servers with one authority and one set of shares, initialised and unsealed.
    ///
    /// # Errors
    /// When one does not start, or does not join in time.
    pub fn start(program: &Peer, places: &[Place; 3]) -> Result<VaultCluster> {
        let authority = Authority::new("Lab Vault CA")?;
        let mut servers: Vec<VaultServer> = Vec::new();
        for (place, name) in places.iter().zip(["s1", "s2", "s3"]) {
            let founder = servers.first();
            let joins = founder.map(|founder| founder.address);
            let member = Member { name, joins, is_alone: false, authority: &authority };
            let mut server = VaultServer::start_member(program, place, &member)?;
            match founder {
                None => server.init()?,
                Some(founder) => {
                    server.keys.clone_from(&founder.keys);
                    wait::until("the server to hear of its leader", START_LIMIT, || {
                        let status = server.call("GET", "sys/seal-status", None, None).ok()?;
                        (status.body["initialized"] == true).then_some(())
                    })?;
                }
            }
            server.unseal()?;
            if founder.is_none() {
                server.wait_for_health("to lead", &[200])?;
                // A server may vote after this time of good health: ten seconds, unless told otherwise.
                let settings = json!({"server_stabilization_time": "1s"});
                server.write("sys/storage/raft/autopilot/configuration", &settings)?;
            }
            servers.push(server);
        }
        let cluster = VaultCluster { servers };
        wait::until("three voters", START_LIMIT, || cluster.voters().ok().filter(|n| *n == 3))?;
        Ok(cluster)
    }

    /// How many have a say in who leads.
    fn voters(&self) -> Result<usize> {
        let seen = self.servers[0].read("sys/storage/raft/configuration")?;
        let servers = seen["data"]["config"]["servers"].as_array().context("a list of servers")?;
        Ok(servers.iter().filter(|server| server["voter"] == true).count())
    }

    /// The address of each server.
    pub fn addresses(&self) -> Vec<String> {
        self.servers.iter().map(VaultServer::address).collect()
    }

    /// Waits until one leads, and gives its place in [`VaultCluster::servers`].
    ///
    /// # Errors
    /// When none does in time.
    pub fn leader(&self) -> Result<usize> {
        let look = || {
            let leads = |server: &VaultServer| server.health().is_ok_and(|status| status == 200);
            self.servers.iter().position(leads)
        };
        wait::until("a leader", START_LIMIT, look).context("the cluster has no leader")
    }
}
