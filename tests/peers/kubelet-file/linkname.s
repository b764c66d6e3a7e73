// Lets functions without bodies stand in main.go: the linker finds them in the kubelet.
