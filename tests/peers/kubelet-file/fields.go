package main

import (
	"reflect"
	"strings"

	v1 "k8s.io/api/core/v1"
)

// A type with its fields.
type typeFields struct {
	Name   string  `json:"name"`
	Fields []field `json:"fields"`
}

// A field. Its kind is "text", "integer32", "integer64", "flag", "quantity", "number-or-text", "time", "any" or the
// name of a type, behind "list of " or "map of " where there are several.
type field struct {
	Name string `json:"name"`
	Kind string `json:"kind"`
}

func allTypes() []typeFields {
	found := collector{seen: map[reflect.Type]bool{}}
	found.collect(reflect.TypeFor[v1.Pod]())
	return found.types
}

type collector struct {
	seen  map[reflect.Type]bool
	types []typeFields
}

func (c *collector) collect(kind reflect.Type) {
	if c.seen[kind] {
		return
	}
	c.seen[kind] = true
	at := len(c.types)
	c.types = append(c.types, typeFields{Name: kind.Name()})
	fields := c.fieldsOf(kind)
	c.types[at].Fields = fields
}

func (c *collector) fieldsOf(kind reflect.Type) []field {
	fields := []field{}
	for i := range kind.NumField() {
		member := kind.Field(i)
		name, options, _ := strings.Cut(member.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case member.Anonymous && (name == "" || strings.Contains(options, "inline")):
			fields = append(fields, c.fieldsOf(member.Type)...)
		default:
			fields = append(fields, field{name, c.kindOf(member.Type)})
		}
	}
	return fields
}

func (c *collector) kindOf(kind reflect.Type) string {
	switch kind.String() {
	case "resource.Quantity":
		return "quantity"
	case "intstr.IntOrString":
		return "number-or-text"
	case "v1.Time", "v1.MicroTime":
		return "time"
	case "v1.FieldsV1":
		return "any"
	}
	switch kind.Kind() {
	case reflect.Pointer:
		return c.kindOf(kind.Elem())
	case reflect.String:
		return "text"
	case reflect.Int32:
		return "integer32"
	case reflect.Int64:
		return "integer64"
	case reflect.Bool:
		return "flag"
	case reflect.Slice:
		return "list of " + c.kindOf(kind.Elem())
	case reflect.Map:
		return "map of " + c.kindOf(kind.Elem())
	case reflect.Struct:
		c.collect(kind)
		return kind.Name()
	default:
		panic(kind.String())
	}
}
