module basalt.test/peers/quadlet

go 1.25

require (
	github.com/containers/podman/v5 v5.6.2 // indirect
	github.com/containers/storage v1.59.1 // indirect
)

tool github.com/containers/podman/v5/cmd/quadlet
