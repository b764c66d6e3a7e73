//! Which server is asked first: pure bookkeeping of what each was like when it was asked last.

use std::time::Instant;

use serde::Deserialize;

use super::error::{Fault, ServerFault};
use super::report::ServerReport;

/// One server of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    /// `https://host:port`.
    pub(crate) address: String,
    pub(crate) standing: Standing,
}

/// What a server was like when it was asked last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was not asked yet.
    Unknown,
    /// It answers questions.
    Usable(Role),
    /// It does not.
    Faulty { fault: Fault, since: Instant },
}

/// What a server is in its cluster; the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// It answers by itself.
    Active,
    /// It answers reads by itself and hands on the rest.
    PerformanceStandby,
    /// It hands on everything.
    Standby,
}

/// All servers.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    all: Vec<Server>,
    /// The one that answered last.
    last_good: Option<usize>,
}

/// The body of `sys/health`, as far as it counts. Vault and OpenBao differ in the rest.
#[derive(Debug, Deserialize)]
pub(crate) struct Health {
    initialized: bool,
    sealed: bool,
    standby: bool,
    #[serde(default)]
    performance_standby: bool,
    #[serde(default)]
    replication_dr_mode: String,
}

impl Health {
    /// What it says about the server.
    pub(crate) fn standing(&self) -> Result<Role, Fault> {
        match self {
            Health { initialized: false, .. } => Err(Fault::Uninitialised),
            Health { sealed: true, .. } => Err(Fault::Sealed),
            Health { replication_dr_mode, .. } if replication_dr_mode == "secondary" => {
                Err(Fault::Standby)
            }
            Health { performance_standby: true, .. } => Ok(Role::PerformanceStandby),
            Health { standby: true, .. } => Ok(Role::Standby),
            Health { .. } => Ok(Role::Active),
        }
    }
}

impl Servers {
    pub(crate) fn new(addresses: &[String]) -> Servers {
        let server = |address: &String| Server {
            address: address.trim_end_matches('/').to_owned(),
            standing: Standing::Unknown,
        };
        Servers { all: addresses.iter().map(server).collect(), last_good: None }
    }

    /// In which order they are asked: those that answered, the last one before all; then the unknown, as they are listed;
    /// then the others, the one that failed longest ago first.
    pub(crate) fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|index| match &self.all[*index].standing {
            Standing::Usable(_) if self.last_good == Some(*index) => (0, Role::Active, None),
            Standing::Usable(role) => (1, *role, None),
            Standing::Unknown => (2, Role::Active, None),
            Standing::Faulty { since, .. } => (3, Role::Active, Some(*since)),
        });
        order
    }

    pub(crate) fn address(&self, index: usize) -> &str {
        &self.all[index].address
    }

    /// Whether it may be asked without a look at its health first.
    pub(crate) fn is_usable(&self, index: usize) -> bool {
        matches!(self.all[index].standing, Standing::Usable(_))
    }

    pub(crate) fn is_good(&mut self, index: usize) {
        self.last_good = Some(index);
    }

    pub(crate) fn is(&mut self, index: usize, role: Role) {
        self.all[index].standing = Standing::Usable(role);
    }

    pub(crate) fn fails(&mut self, index: usize, fault: Fault, now: Instant) -> ServerFault {
        let address = self.all[index].address.clone();
        self.all[index].standing = Standing::Faulty { fault: fault.clone(), since: now };
        ServerFault { address, fault }
    }

    /// Whether it failed when it was asked last.
    pub(crate) fn is_back(&self, index: usize) -> bool {
        matches!(self.all[index].standing, Standing::Faulty { .. })
    }

    /// Whether `fault` is another sort of fault than the one it had.
    pub(crate) fn is_news(&self, index: usize, fault: &Fault) -> bool {
        match &self.all[index].standing {
            Standing::Faulty { fault: before, .. } => before.word() != fault.word(),
            Standing::Unknown | Standing::Usable(_) => true,
        }
    }

    /// The address that answered last.
    pub(crate) fn last_good(&self) -> Option<&str> {
        self.last_good.map(|index| self.address(index))
    }

    pub(crate) fn report(&self) -> Vec<ServerReport> {
        let row = |server: &Server| {
            let (state, detail) = match &server.standing {
                Standing::Unknown => ("unknown", None),
                Standing::Usable(Role::Active) => ("active", None),
                Standing::Usable(Role::PerformanceStandby) => ("performance_standby", None),
                Standing::Usable(Role::Standby) => ("standby", None),
                Standing::Faulty { fault: Fault::Standby, .. } => {
                    ("standby_without_active", Some(Fault::Standby.to_string()))
                }
                Standing::Faulty { fault, .. } => (fault.word(), Some(fault.to_string())),
            };
            ServerReport { address: server.address.clone(), state: state.to_owned(), detail }
        };
        self.all.iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_order_follows_health() {
        let names: Vec<String> = "abcdef".chars().map(String::from).collect();
        let mut servers = Servers::new(&names);
        let check = |servers: &Servers, expected: &str| {
            let order: String =
                servers.order().into_iter().map(|index| servers.address(index)).collect();
            assert_eq!(order, expected);
        };
        check(&servers, "abcdef");
        let now = Instant::now();
        servers.fails(0, Fault::Sealed, now);
        check(&servers, "bcdefa");
        servers.fails(1, Fault::Unreachable(String::new()), now - Duration::from_secs(1));
        check(&servers, "cdefba");
        servers.is(4, Role::Standby);
        check(&servers, "ecdfba");
        servers.is(5, Role::Active);
        check(&servers, "fecdba");
        servers.is(3, Role::PerformanceStandby);
        check(&servers, "fdecba");
        servers.is_good(4);
        check(&servers, "efdcba");
        servers.fails(4, Fault::Standby, now + Duration::from_secs(1));
        check(&servers, "fdcbae");
        assert_eq!(servers.last_good(), Some("e"));
    }

    #[track_caller]
    fn check(json: &str, expected: Result<Role, Fault>) {
        assert_eq!(serde_json::from_str::<Health>(json).unwrap().standing(), expected);
    }

    #[test]
    fn health_is_told_apart() {
        let openbao = r#"{"initialized":true,"sealed":false,"standby":false,"performance_standby":false,
            "replication_performance_mode":"disabled","replication_dr_mode":"disabled","server_time_utc":1,"version":"2.7.2"}"#;
        check(openbao, Ok(Role::Active));
        check(r#"{"initialized":true,"sealed":false,"standby":true}"#, Ok(Role::Standby));
        check(
            r#"{"initialized":true,"sealed":false,"standby":true,"performance_standby":true}"#,
            Ok(Role::PerformanceStandby),
        );
        check(r#"{"initialized":true,"sealed":true,"standby":true}"#, Err(Fault::Sealed));
        check(r#"{"initialized":false,"sealed":true,"standby":true}"#, Err(Fault::Uninitialised));
        check(
            r#"{"initialized":true,"sealed":false,"standby":true,"replication_dr_mode":"secondary"}"#,
            Err(Fault::Standby),
        );
    }
}
