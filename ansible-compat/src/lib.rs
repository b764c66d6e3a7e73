//! The Ansible side of Basalt: takes inventories and playbooks, gives a cluster, Butane, static pods and findings;
//! touches a folder handed in.
