package main

import (
	"fmt"
	"reflect"
	"sort"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Prints what objects of stable versions may say. The cluster says their status.
func fields(all *runtime.Scheme) {
	found := collector{nameOf: nameWithPackage, status: "any", lines: map[reflect.Type][]string{}}
	var kinds []schema.GroupVersionKind
	for kind, of := range all.AllKnownTypes() {
		if isStable(kind.Version) && kind.Version != runtime.APIVersionInternal && isObject(of) {
			kinds = append(kinds, kind)
		}
	}
	sort.Slice(kinds, func(a, b int) bool { return kinds[a].String() < kinds[b].String() })
	found.print(all, kinds)
}

// Prints what a Pod may say. The kubelet reads its status, too.
func podFields(all *runtime.Scheme) {
	found := collector{nameOf: reflect.Type.Name, lines: map[reflect.Type][]string{}}
	found.print(all, []schema.GroupVersionKind{{Version: "v1", Kind: "Pod"}})
}

func isStable(version string) bool {
	return !strings.Contains(version, "alpha") && !strings.Contains(version, "beta")
}

// Whether somebody applies it: not what servers answer or are asked, nor lists.
func isObject(kind reflect.Type) bool {
	_, hasName := kind.FieldByName("ObjectMeta")
	return hasName
}

// Such as `apps/v1.Deployment`: no two packages of the API end alike.
func nameWithPackage(of reflect.Type) string {
	parts := strings.Split(of.PkgPath(), "/")
	return strings.Join(parts[max(0, len(parts)-2):], "/") + "." + of.Name()
}

type collector struct {
	nameOf func(reflect.Type) string
	// What the status of an object is said to take, if not what its type has.
	status string
	order  []reflect.Type
	lines  map[reflect.Type][]string
}

// Prints each kind with its type, then each type with its fields. What a field takes is "text", "bytes", "integer32",
// "integer64", "number", "flag", "quantity", "number-or-text", "time", "any" or the name of a type, behind "list of " or
// "map of " where there are several; " | " is between two that it may be.
func (c *collector) print(all *runtime.Scheme, kinds []schema.GroupVersionKind) {
	for _, kind := range kinds {
		of := all.AllKnownTypes()[kind]
		c.collect(of, true)
		fmt.Println("kind", kind.GroupVersion(), kind.Kind, c.nameOf(of))
	}
	for _, of := range c.order {
		fmt.Println(c.nameOf(of))
		for _, line := range c.lines[of] {
			fmt.Println("  " + line)
		}
	}
}

func (c *collector) collect(of reflect.Type, isRoot bool) {
	if _, seen := c.lines[of]; seen {
		return
	}
	c.order = append(c.order, of)
	c.lines[of] = nil
	c.lines[of] = c.fieldsOf(of, isRoot)
}

func (c *collector) fieldsOf(of reflect.Type, isRoot bool) []string {
	var lines []string
	for i := range of.NumField() {
		member := of.Field(i)
		name, options, _ := strings.Cut(member.Tag.Get("json"), ",")
		switch {
		case name == "-" || !member.IsExported():
		case member.Anonymous && (name == "" || strings.Contains(options, "inline")):
			lines = append(lines, c.fieldsOf(member.Type, false)...)
		case isRoot && name == "status" && c.status != "":
			lines = append(lines, name+" "+c.status)
		default:
			lines = append(lines, name+" "+c.takes(member.Type))
		}
	}
	return lines
}

func (c *collector) takes(of reflect.Type) string {
	switch of.String() {
	case "resource.Quantity":
		return "quantity"
	case "intstr.IntOrString":
		return "number-or-text"
	case "v1.Time", "v1.MicroTime":
		return "time"
	case "v1.Duration":
		return "text"
	case "v1.FieldsV1", "runtime.RawExtension", "v1.JSON":
		return "any"
	case "v1.JSONSchemaPropsOrBool":
		return "flag | " + c.takes(of.Field(1).Type)
	case "v1.JSONSchemaPropsOrArray":
		return "list of " + c.takes(of.Field(0).Type) + " | " + c.takes(of.Field(0).Type)
	case "v1.JSONSchemaPropsOrStringArray":
		return "list of text | " + c.takes(of.Field(0).Type)
	}
	switch of.Kind() {
	case reflect.Pointer:
		return c.takes(of.Elem())
	case reflect.String:
		return "text"
	case reflect.Int32:
		return "integer32"
	case reflect.Int, reflect.Int64:
		return "integer64"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Bool:
		return "flag"
	case reflect.Interface:
		return "any"
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Uint8 {
			return "bytes"
		}
		return "list of " + c.takes(of.Elem())
	case reflect.Map:
		return "map of " + c.takes(of.Elem())
	case reflect.Struct:
		c.collect(of, false)
		return c.nameOf(of)
	default:
		panic(of.String())
	}
}
