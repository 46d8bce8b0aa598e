// SPDX-License-Identifier: Apache-2.0

package install

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// network answers as the NetworkPolicies of a namespace do; there is no network
// in these tests to ask.
type network struct {
	*testing.T
	policies []*networkingv1.NetworkPolicy
}

func (n network) matches(selector *metav1.LabelSelector, of map[string]string) bool {
	n.Helper()
	s, err := metav1.LabelSelectorAsSelector(selector)
	require.NoError(n, err)
	return s.Matches(labels.Set(of))
}

func hasPort(ports []networkingv1.NetworkPolicyPort, protocol corev1.Protocol, port int) bool {
	for _, p := range ports {
		if *p.Protocol == protocol && p.Port.IntValue() == port {
			return true
		}
	}
	return len(ports) == 0
}

// sends tells whether a Pod with these labels may connect to the port anywhere.
func (n network) sends(pod map[string]string, protocol corev1.Protocol, port int) bool {
	selected := false
	for _, p := range n.policies {
		if !n.matches(&p.Spec.PodSelector, pod) || !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
			continue
		}
		selected = true
		for _, rule := range p.Spec.Egress {
			require.Empty(n, rule.To, "which this test does not read")
			if hasPort(rule.Ports, protocol, port) {
				return true
			}
		}
	}
	return !selected
}

// receives tells whether a Pod of a namespace with these labels may connect to it.
func (n network) receives(pod, namespace map[string]string, port int) bool {
	selected := false
	for _, p := range n.policies {
		if !n.matches(&p.Spec.PodSelector, pod) || !slices.Contains(p.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) {
			continue
		}
		selected = true
		for _, rule := range p.Spec.Ingress {
			from := len(rule.From) == 0
			for _, peer := range rule.From {
				from = from || n.matches(peer.NamespaceSelector, namespace)
			}
			if from && hasPort(rule.Ports, corev1.ProtocolTCP, port) {
				return true
			}
		}
	}
	return !selected
}

func TestPodsConnectWhereTheyHaveTo(t *testing.T) {
	n := network{T: t, policies: objectsIn[networkingv1.NetworkPolicy](t, config("default"), "NetworkPolicy")}
	pods := map[string]map[string]string{"other": {"app": "other"}}
	for _, d := range deploymentsOf(t, "default") {
		pods[d.Name] = d.Spec.Template.Labels
	}
	manager, server, other := pods["connectedapps-manager"], pods["tokenserver"], pods["other"]

	const tcp, udp = corev1.ProtocolTCP, corev1.ProtocolUDP
	for _, port := range []int{53, 443, 6443, 8443} {
		require.True(t, n.sends(manager, tcp, port), "names, the API server, token servers: %d", port)
	}
	require.True(t, n.sends(manager, udp, 53))
	for _, port := range []int{22, 25, 80, 5432} {
		require.False(t, n.sends(manager, tcp, port), port)
	}
	for _, port := range []int{53, 443, 6443, 8443} {
		require.True(t, n.sends(server, tcp, port), "names, and the API server for its keys: %d", port)
	}
	require.True(t, n.sends(server, udp, 53))
	for _, port := range []int{22, 25, 80, 5432} {
		require.False(t, n.sends(server, tcp, port), port)
	}
	require.False(t, n.sends(other, tcp, 443), "what else is in the namespace neither")

	monitoring, tenant := map[string]string{"metrics": "enabled"}, map[string]string{"team": "payments"}
	require.True(t, n.receives(server, tenant, 8443), "everybody may ask for a token")
	for pod, port := range map[string]int{"connectedapps-manager": 8443, "tokenserver": 8081} {
		require.True(t, n.receives(pods[pod], monitoring, port), "metrics of %s", pod)
		require.False(t, n.receives(pods[pod], tenant, port), "metrics of %s", pod)
	}
	require.False(t, n.receives(other, tenant, 80))
}
