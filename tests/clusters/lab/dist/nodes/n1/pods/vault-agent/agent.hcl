# Made by basalt-agent from this node's node.json; a change made here is undone.

vault {
  address = "https://192.0.2.21:8200"
  ca_cert = "/etc/basalt/trust/lab-vault.pem"
}

auto_auth {
  method "cert" {
    mount_path = "auth/cert"
    config {
      ca_cert = "/etc/basalt/trust/lab-vault.pem"
      client_cert = "/run/basalt/identity/certificate.pem"
      client_key = "/run/basalt/identity/key.pem"
      reload = true
      name = "basalt-lab-nodes-controller"
    }
  }
}

template_config {
  exit_on_retry_failure = false
}

listener "tcp" {
  address = "127.0.0.1:8101"
  tls_disable = true
  role = "metrics_only"
}

telemetry {
  disable_hostname = true
  prometheus_retention_time = "10m"
}

template {
  source = "/etc/basalt/pods/vault-agent/templates/registry-auth.ctmpl"
  destination = "/var/lib/basalt/secrets/registry-auth.json"
  perms = "0600"
  user = "0"
  group = "0"
  error_on_missing_key = true
}
