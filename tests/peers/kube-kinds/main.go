// Prints the kinds of Kubernetes' API, one a line: `apps/v1 Deployment`.
//
// Without arguments those of client-go's scheme, that objects of the API are read with; with the argument `fields` what
// those of stable versions may say, committed as xtask/src/bundle/fields.txt; with `pod-fields` what a Pod may say,
// committed as static-pods/src/lint/fields.txt. With other arguments, folders of sources of k8s.io/kubernetes as `go mod
// download -json k8s.io/kubernetes@v1.36.3` names them and each written as 1.36=FOLDER, what is committed as
// xtask/src/bundle/kinds.txt: that which API servers of these versions discover with every API enabled, with scope,
// whether it can be applied, and the first and last of the versions.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
)

var version = ""

type resources struct {
	Kind         string `json:"kind"`
	GroupVersion string `json:"groupVersion"`
	Resources    []struct {
		Kind       string   `json:"kind"`
		Name       string   `json:"name"`
		Namespaced bool     `json:"namespaced"`
		Verbs      []string `json:"verbs"`
	} `json:"resources"`
}

type row struct{ first, last string }

func table(folders []string) error {
	rows := map[string]row{}
	for _, argument := range folders {
		version, folder, found := strings.Cut(argument, "=")
		if !found {
			return fmt.Errorf("%q is not VERSION=FOLDER", argument)
		}
		files, err := filepath.Glob(filepath.Join(folder, "api", "discovery", "*.json"))
		if err != nil {
			return err
		}
		if len(files) == 0 {
			return fmt.Errorf("%q holds no discovery documents", folder)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			var list resources
			if err := json.Unmarshal(text, &list); err != nil {
				return err
			}
			for _, resource := range list.Resources {
				if list.Kind != "APIResourceList" || strings.Contains(resource.Name, "/") {
					continue
				}
				scope, use := "cluster", "ask"
				if resource.Namespaced {
					scope = "namespaced"
				}
				if slices.Contains(resource.Verbs, "patch") {
					use = "apply"
				}
				key := strings.Join([]string{list.GroupVersion, resource.Kind, scope, use}, " ")
				known, seen := rows[key]
				if !seen {
					known.first = version
				}
				known.last = version
				rows[key] = known
			}
		}
	}
	var lines []string
	for key, row := range rows {
		lines = append(lines, fmt.Sprintf("%s %s %s", key, row.first, row.last))
	}
	sort.Strings(lines)
	fmt.Println(strings.Join(lines, "\n"))
	return nil
}

func withEverything(use func(*runtime.Scheme)) error {
	all := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		scheme.AddToScheme, apiextensions.AddToScheme, apiregistration.AddToScheme,
	} {
		if err := add(all); err != nil {
			return err
		}
	}
	use(all)
	return nil
}

func kinds(all *runtime.Scheme) {
	for kind := range all.AllKnownTypes() {
		// What a server says or is asked, and lists, are no objects.
		fmt.Println(kind.GroupVersion().String(), kind.Kind)
	}
}

func main() {
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == "--version":
		fmt.Println(version)
	case len(os.Args) == 2 && os.Args[1] == "fields":
		err = withEverything(fields)
	case len(os.Args) == 2 && os.Args[1] == "pod-fields":
		err = withEverything(podFields)
	case len(os.Args) > 1:
		err = table(os.Args[1:])
	default:
		err = withEverything(kinds)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
