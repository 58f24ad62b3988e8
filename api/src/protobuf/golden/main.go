// Command vectors writes objects as Kubernetes' own encoders write them: one JSON line per object with its protobuf (base64) and
// the JSON that Kubernetes makes of what it decodes from that protobuf.
//
// Every kind of every built-in group-version comes three times: with nothing set, with every pointer set to zero, and with every
// field set. Bodies of recorded requests can be given as JSON lines on standard input.
//
// Built with k8s.io/api, apimachinery, client-go and apiextensions-apiserver 0.36:
//
//	GO111MODULE=off GOPATH=... go run main.go < bodies > ../../api/src/protobuf/golden/kinds.jsonl
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"sort"
	"strings"
	"time"

	apiext "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes/scheme"
)

type line struct {
	Name     string          `json:"name"`
	Protobuf string          `json:"protobuf"`
	JSON     json.RawMessage `json:"json"`
}

var (
	sch   = scheme.Scheme
	proto = protobuf.NewSerializer(sch, sch)
	js    = kjson.NewSerializerWithOptions(kjson.DefaultMetaFactory, sch, sch, kjson.SerializerOptions{})
	out   = bufio.NewWriter(os.Stdout)
)

func emit(name string, obj runtime.Object) {
	var wire bytes.Buffer
	if err := proto.Encode(obj, &wire); err != nil {
		fmt.Fprintln(os.Stderr, name, "encode:", err)
		return
	}
	back, _, err := proto.Decode(wire.Bytes(), nil, nil)
	if err != nil {
		fmt.Fprintln(os.Stderr, name, "decode:", err)
		return
	}
	var text bytes.Buffer
	if err := js.Encode(back, &text); err != nil {
		fmt.Fprintln(os.Stderr, name, "json:", err)
		return
	}
	b, err := json.Marshal(line{name, base64.StdEncoding.EncodeToString(wire.Bytes()), json.RawMessage(bytes.TrimSpace(text.Bytes()))})
	if err != nil {
		fmt.Fprintln(os.Stderr, name, "line:", err)
		return
	}
	out.Write(b)
	out.WriteByte('\n')
}

type mode int

const (
	zero mode = iota // pointers, lists and maps hold zeros
	full             // everything holds something
)

type filler struct {
	mode  mode
	count int
}

func (f *filler) next() int { f.count++; return f.count }

func (f *filler) fill(v reflect.Value, seen []reflect.Type) {
	switch p := v.Addr().Interface().(type) {
	case *metav1.TypeMeta:
		return
	case *metav1.Time:
		if f.mode == full {
			*p = metav1.NewTime(time.Unix(1_700_000_000+int64(f.next()), 0).UTC())
		}
		return
	case *metav1.MicroTime:
		if f.mode == full {
			*p = metav1.NewMicroTime(time.Unix(1_700_000_000, int64(f.next())*1_000).UTC())
		}
		return
	case *resource.Quantity:
		if f.mode == full {
			*p = *resource.NewMilliQuantity(int64(f.next())*250, resource.DecimalSI)
		}
		return
	case *intstr.IntOrString:
		if f.mode == full {
			if n := f.next(); n%2 == 0 {
				*p = intstr.FromInt32(int32(n))
			} else {
				*p = intstr.FromString(fmt.Sprintf("%d%%", n))
			}
		}
		return
	case *runtime.RawExtension:
		if f.mode == full {
			p.Raw = []byte(fmt.Sprintf(`{"raw":%d}`, f.next()))
		}
		return
	case *metav1.FieldsV1:
		if f.mode == full {
			p.Raw = []byte(fmt.Sprintf(`{"f:n%d":{}}`, f.next()))
		} else {
			p.Raw = []byte(`{}`)
		}
		return
	case *apiext.JSON:
		if f.mode == full {
			p.Raw = []byte(fmt.Sprintf(`[%d]`, f.next()))
		} else {
			p.Raw = []byte(`0`)
		}
		return
	case *apiext.JSONSchemaPropsOrArray:
		if f.mode == full && f.next()%2 == 0 {
			p.JSONSchemas = []apiext.JSONSchemaProps{{Type: "a"}, {Type: "b"}}
		} else {
			p.Schema = &apiext.JSONSchemaProps{}
		}
		return
	case *apiext.JSONSchemaPropsOrBool:
		if f.mode == full {
			p.Allows = true
			if f.next()%2 == 0 {
				p.Schema = &apiext.JSONSchemaProps{Type: "a"}
			}
		}
		return
	case *apiext.JSONSchemaPropsOrStringArray:
		if f.mode == full && f.next()%2 == 0 {
			p.Property = []string{"a", "b"}
		} else {
			p.Schema = &apiext.JSONSchemaProps{}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		t := v.Type()
		for _, s := range seen {
			if s == t {
				return
			}
		}
		seen = append(seen, t)
		for i := 0; i < v.NumField(); i++ {
			if t.Field(i).PkgPath == "" {
				f.fill(v.Field(i), seen)
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem(), seen)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			if f.mode == full {
				v.SetBytes([]byte(fmt.Sprintf("\xff%d", f.next())))
			}
			// Without a byte they would be left out of the JSON, and be there in protobuf.
			return
		}
		n := 1
		if f.mode == full && v.Type().Elem().Kind() != reflect.Struct {
			n = 2
		}
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := 0; i < n; i++ {
			f.fill(v.Index(i), seen)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		if f.mode == full {
			key.SetString(fmt.Sprintf("k%d", f.next()))
		}
		f.fill(value, seen)
		if value.Kind() == reflect.Slice && value.IsNil() {
			value.Set(reflect.MakeSlice(value.Type(), 0, 0))
		}
		v.SetMapIndex(key, value)
	case reflect.String:
		if f.mode == full {
			v.SetString(fmt.Sprintf("s%d", f.next()))
		}
	case reflect.Bool:
		v.SetBool(f.mode == full)
	case reflect.Int32, reflect.Int64, reflect.Int:
		if f.mode == full {
			n := int64(f.next())
			if n%5 == 0 {
				n = -n
			}
			v.SetInt(n)
		}
	case reflect.Float64:
		if f.mode == full {
			v.SetFloat(float64(f.next()) / 2)
		}
	default:
		fmt.Fprintln(os.Stderr, "no filling for", v.Type())
	}
}

func kinds(groups map[string]bool) {
	var all []schema.GroupVersionKind
	for gvk := range sch.AllKnownTypes() {
		if !groups[gvk.GroupVersion().String()] {
			continue
		}
		if gvk.Kind == "PodStatusResult" || gvk.Kind == "RangeAllocation" || gvk.Kind == "SerializedReference" || gvk.Kind == "ConversionReview" {
			continue // No path takes or answers them.
		}
		// Lists come as what is in them, options as queries, and some types are the same in every group.
		meta := strings.HasSuffix(gvk.Kind, "Options") || gvk.Kind == "WatchEvent"
		if gvk.Kind != "PodList" && strings.HasSuffix(gvk.Kind, "List") || meta && !(gvk.Kind == "DeleteOptions" && gvk.Group == "") {
			continue
		}
		all = append(all, gvk)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].String() < all[j].String() })
	podSpec := false
	for _, gvk := range all {
		for _, variant := range []string{"empty", "zero", "full"} {
			obj, err := sch.New(gvk)
			if err != nil {
				panic(err)
			}
			v := reflect.ValueOf(obj).Elem()
			// One kind has a whole pod's fields; of the others they would be the same again.
			seen := []reflect.Type{}
			if podSpec {
				seen = append(seen, podSpecType)
			}
			switch variant {
			case "zero":
				(&filler{mode: zero}).fill(v, seen)
			case "full":
				(&filler{mode: full}).fill(v, seen)
			}
			obj.GetObjectKind().SetGroupVersionKind(gvk)
			emit(fmt.Sprintf("%s %s: %s", gvk.GroupVersion(), gvk.Kind, variant), obj)
		}
		if gvk.Kind == "Pod" {
			podSpec = true
		}
	}
}

var podSpecType reflect.Type

func main() {
	defer out.Flush()
	if err := apiext.AddToScheme(sch); err != nil {
		panic(err)
	}
	pod, err := sch.New(schema.GroupVersionKind{Version: "v1", Kind: "Pod"})
	if err != nil {
		panic(err)
	}
	field, _ := reflect.TypeOf(pod).Elem().FieldByName("Spec")
	podSpecType = field.Type
	if len(os.Args) > 1 && os.Args[1] == "bodies" {
		in := bufio.NewScanner(os.Stdin)
		in.Buffer(nil, 1<<22)
		for in.Scan() {
			var body struct {
				Name string
				Body json.RawMessage
			}
			if err := json.Unmarshal(in.Bytes(), &body); err != nil {
				panic(err)
			}
			obj, _, err := js.Decode(body.Body, nil, nil)
			if err != nil {
				fmt.Fprintln(os.Stderr, body.Name, err)
				continue
			}
			emit(body.Name, obj)
		}
		return
	}
	groups := map[string]bool{}
	for _, g := range os.Args[1:] {
		groups[g] = true
	}
	kinds(groups)
}
