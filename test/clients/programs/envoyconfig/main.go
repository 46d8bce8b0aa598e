// SPDX-License-Identifier: Apache-2.0

// Command envoyconfig checks configuration of Envoy by Envoy's own types: every
// field is known, of the right type, and as its validation rules say, also in
// what is packed into a typed_config.
//
//	envoyconfig BOOTSTRAP DISCOVERY_RESPONSE...
//
// It prints what is wrong, and exits 1 then. What only a running Envoy knows, such
// as whether a cluster is there, it does not.
package main

import (
	"errors"
	"fmt"
	"os"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protopath"
	"google.golang.org/protobuf/reflect/protorange"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"

	// The types that a typed_config may name.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: envoyconfig BOOTSTRAP DISCOVERY_RESPONSE...")
		os.Exit(2)
	}
	problems := check(os.Args[1], &bootstrapv3.Bootstrap{})
	for _, file := range os.Args[2:] {
		problems = errors.Join(problems, check(file, &discoveryv3.DiscoveryResponse{}))
	}
	if problems != nil {
		fmt.Fprintln(os.Stderr, problems)
		os.Exit(1)
	}
}

// check reads a file as the message and judges it.
func check(file string, message proto.Message) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	document, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := protojson.Unmarshal(document, message); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if err := validate(message); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	return nil
}

// validate applies the rules to a message and to all that is packed into it,
// which the generated rules do not look into.
func validate(message proto.Message) error {
	if rules, ok := message.(interface{ ValidateAll() error }); ok {
		if err := rules.ValidateAll(); err != nil {
			return err
		}
	}
	return protorange.Range(message.ProtoReflect(), func(at protopath.Values) error {
		found, ok := at.Index(-1).Value.Interface().(protoreflect.Message)
		if !ok {
			return nil
		}
		packed, ok := found.Interface().(*anypb.Any)
		if !ok {
			return nil
		}
		inner, err := packed.UnmarshalNew()
		if err != nil {
			return err
		}
		return validate(inner)
	})
}
