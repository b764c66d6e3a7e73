package main

import (
	"context"
	"fmt"
	"runtime"
	_ "unsafe" // for linkname

	"k8s.io/klog/v2"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	serializer "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/types"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	api "k8s.io/kubernetes/pkg/apis/core"
	"k8s.io/kubernetes/pkg/capabilities"
	_ "k8s.io/kubernetes/pkg/kubelet/config"
	"k8s.io/kubernetes/pkg/kubelet/lifecycle"
	"k8s.io/kubernetes/pkg/kubelet/preemption"
	"k8s.io/kubernetes/pkg/kubelet/sysctl"
	"k8s.io/kubernetes/pkg/scheduler/framework"
)

// The name of the node; the kubelet appends it to a pod's.
const nodeName = "node"

// Decodes, defaults and validates one file, as the kubelet does when it has read it.
//
//go:linkname decodePod k8s.io/kubernetes/pkg/kubelet/config.tryDecodeSinglePod
func decodePod(klog.Logger, []byte, func(klog.Logger, *api.Pod) error) (bool, *v1.Pod, error)

// Gives a pod what the kubelet gives it.
//
//go:linkname applyDefaults k8s.io/kubernetes/pkg/kubelet/config.applyDefaults
func applyDefaults(klog.Logger, *api.Pod, string, bool, types.NodeName) error

// A node with a standalone kubelet, and the admission handlers that do not ask the host.
type node struct {
	strictJSON, strictYAML *serializer.Serializer
	handlers               []lifecycle.PodAdmitHandler
}

func newNode() node {
	// As the kubelet does when it starts: static pods may be privileged.
	capabilities.Setup(true, 0)
	ctx := context.Background()
	allowed, err := sysctl.NewAllowlist(sysctl.SafeSysctlAllowlist(ctx))
	check(err)
	noPods := func() []*v1.Pod { return nil }
	critical := preemption.NewCriticalPodAdmissionHandler(noPods, nil, nil)
	noPlugins := func(*framework.NodeInfo, *lifecycle.PodAdmitAttributes) error { return nil }
	getNode := func(context.Context, bool) (*v1.Node, error) { return standalone(), nil }
	return node{
		strictJSON: strict(false),
		strictYAML: strict(true),
		handlers: []lifecycle.PodAdmitHandler{
			allowed,
			lifecycle.NewPredicateAdmitHandler(getNode, critical, noPlugins),
			lifecycle.NewPodFeaturesAdmitHandler(),
		},
	}
}

func strict(isYAML bool) *serializer.Serializer {
	scheme := legacyscheme.Scheme
	options := serializer.SerializerOptions{Yaml: isYAML, Strict: true}
	return serializer.NewSerializerWithOptions(serializer.DefaultMetaFactory, scheme, scheme, options)
}

// The node as a kubelet without an API server makes it up, with as much of everything as a machine can have.
func standalone() *v1.Node {
	amount := resource.MustParse("63Ti")
	resources := v1.ResourceList{
		v1.ResourceCPU:              resource.MustParse("999"),
		v1.ResourceMemory:           amount,
		v1.ResourceEphemeralStorage: resource.MustParse("1023Pi"),
		v1.ResourcePods:             resource.MustParse("110"),
		"hugepages-2Mi":             resource.MustParse("8E"),
		"hugepages-1Gi":             resource.MustParse("8E"),
	}
	supported := true
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name: nodeName,
			Labels: map[string]string{
				v1.LabelHostname:          nodeName,
				v1.LabelOSStable:          runtime.GOOS,
				v1.LabelArchStable:        runtime.GOARCH,
				"beta.kubernetes.io/os":   runtime.GOOS,
				"beta.kubernetes.io/arch": runtime.GOARCH,
			},
		},
		Status: v1.NodeStatus{
			Capacity:    resources,
			Allocatable: resources,
			Features:    &v1.NodeFeatures{SupplementalGroupsPolicy: &supported},
		},
	}
}

func (n *node) look(folder []file) []verdict {
	verdicts := make([]verdict, len(folder))
	var admitted []*v1.Pod
	for i, file := range folder {
		pod, refused := read(file)
		verdicts[i].Refused = refused
		verdicts[i].Dropped = n.dropped(file.Bytes)
		if pod == nil {
			continue
		}
		verdicts[i].NotAdmitted = n.admit(pod, admitted)
		if verdicts[i].NotAdmitted == "" {
			admitted = append(admitted, pod)
		}
	}
	return verdicts
}

func read(file file) (pod *v1.Pod, refused string) {
	defer func() {
		if reason := recover(); reason != nil {
			pod, refused = nil, fmt.Sprint("panic: ", reason)
		}
	}()
	defaults := func(logger klog.Logger, pod *api.Pod) error {
		return applyDefaults(logger, pod, file.Name, true, nodeName)
	}
	_, pod, err := decodePod(klog.Background(), file.Bytes, defaults)
	if err != nil {
		return nil, err.Error()
	}
	return pod, ""
}

// What a reader that does not pass over anything says besides.
func (n *node) dropped(bytes []byte) []string {
	strict := n.strictYAML
	if utilyaml.IsJSONBuffer(bytes) {
		strict = n.strictJSON
	}
	_, _, err := strict.Decode(bytes, nil, nil)
	if found, ok := apiruntime.AsStrictDecodingError(err); ok {
		var dropped []string
		for _, err := range found.Errors() {
			dropped = append(dropped, err.Error())
		}
		return dropped
	}
	return nil
}

func (n *node) admit(pod *v1.Pod, others []*v1.Pod) (refused string) {
	defer func() {
		if reason := recover(); reason != nil {
			refused = fmt.Sprint("panic: ", reason)
		}
	}()
	// What the kubelet knows a static pod by.
	pod.Annotations["kubernetes.io/config.source"] = "file"
	attributes := &lifecycle.PodAdmitAttributes{Pod: pod, OtherPods: others, Operation: lifecycle.AddOperation}
	for _, handler := range n.handlers {
		if result := handler.Admit(attributes); !result.Admit {
			return result.Reason + ": " + result.Message
		}
	}
	return ""
}
