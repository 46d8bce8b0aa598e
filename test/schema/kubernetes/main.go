// SPDX-License-Identifier: Apache-2.0

// Command kubernetes tells what of the manifests on its standard input a version of
// Kubernetes does not know: kinds, and fields. The version is that of the types it is
// built with, and there is a module file for each but the last, whose file is go.mod:
//
//	go run -modfile=v1.33.mod . <manifests.yaml
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
)

func main() {
	unknown, err := check(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, "kubernetes:", err)
		os.Exit(2)
	}
	for _, line := range unknown {
		fmt.Println(line)
	}
	if len(unknown) > 0 {
		os.Exit(1)
	}
}

// check decodes each document as strictly as an API server with fieldValidation.
func check(in io.Reader) (unknown []string, err error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		admissionregistrationv1.AddToScheme, appsv1.AddToScheme, batchv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme,
		policyv1.AddToScheme, rbacv1.AddToScheme, schedulingv1.AddToScheme, apiextensionsv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewYAMLReader(bufio.NewReader(in))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return unknown, nil
		}
		if err != nil {
			return nil, err
		}
		if _, _, err := decoder.Decode(document, nil, nil); err != nil {
			unknown = append(unknown, err.Error())
		}
	}
}
