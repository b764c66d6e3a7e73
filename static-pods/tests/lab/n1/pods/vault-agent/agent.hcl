# Made by basalt-agent from this node's node.json; a change made here is undone.

vault {
  address = "https://192.0.2.21:8200"
  ca_cert = "/etc/basalt/trust/vault.pem"
}

auto_auth {
  method "approle" {
    mount_path = "auth/approle"
    config {
      role_id_file_path = "/etc/basalt/pods/vault-agent/role-id"
      secret_id_file_path = "/var/lib/basalt/identity/secret-id"
      remove_secret_id_file_after_reading = false
    }
  }
}

template_config {
  exit_on_retry_failure = false
}

listener "tcp" {
  address = "127.0.0.1:9445"
  tls_disable = true
  role = "metrics_only"
}

telemetry {
  disable_hostname = true
  prometheus_retention_time = "10m"
}

template {
  source = "/etc/basalt/pods/vault-agent/templates/registry-password.ctmpl"
  destination = "/var/lib/registry/secrets/password"
  perms = "0640"
  user = "0"
  group = "0"
  error_on_missing_key = true
}
