// SPDX-License-Identifier: Apache-2.0

package install

import (
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// A budget lets nodes be drained, whatever the number of replicas, and there is
// one where it keeps something running.
func TestBudgetsDoNotKeepNodesFromBeingDrained(t *testing.T) {
	install(t)
	budgets := map[string]*policyv1.PodDisruptionBudget{}
	for _, b := range objectsIn[policyv1.PodDisruptionBudget](t, config("default"), "PodDisruptionBudget") {
		require.Nil(t, b.Spec.MinAvailable, b.Name)
		require.Equal(t, intstr.FromInt32(1), *b.Spec.MaxUnavailable, b.Name)
		budgets[b.Name] = b
	}
	deployments := deploymentsOf(t, "default")
	require.Len(t, deployments, 2)
	for _, d := range deployments {
		budget := budgets[d.Name]
		require.Equal(t, *d.Spec.Replicas > 1, budget != nil, d.Name)
		if budget != nil {
			require.Equal(t, d.Spec.Selector, budget.Spec.Selector)
		}
	}
}

// The collector knows the limit of each container of ours, also when somebody
// changes it.
func TestTheCollectorKnowsTheMemoryLimit(t *testing.T) {
	var containers []corev1.Container
	for _, d := range append(deploymentsOf(t, "default"), deploymentsOf(t, "samples")...) {
		spec := d.Spec.Template.Spec
		for _, c := range append(append([]corev1.Container{}, spec.InitContainers...), spec.Containers...) {
			if strings.HasPrefix(c.Image, "connectedapps/") {
				containers = append(containers, c)
			}
		}
	}
	require.Len(t, containers, 3)
	for _, c := range containers {
		limit := c.Resources.Limits.Memory().Value()
		variables := map[string]string{}
		for _, v := range c.Env { // a variable sees those before it
			if from := v.ValueFrom; from != nil && from.ResourceFieldRef != nil {
				require.Equal(t, "limits.memory", from.ResourceFieldRef.Resource)
				divisor := from.ResourceFieldRef.Divisor.Value()
				variables[v.Name] = strconv.FormatInt((limit+divisor-1)/divisor, 10)
				continue
			}
			value := v.Value
			for name, of := range variables {
				value = strings.ReplaceAll(value, "$("+name+")", of)
			}
			variables[v.Name] = value
		}
		set, isBytes := strings.CutSuffix(variables["GOMEMLIMIT"], "B")
		require.True(t, isBytes, "%s: %q", c.Name, variables["GOMEMLIMIT"])
		bytes, err := strconv.ParseInt(set, 10, 64)
		require.NoError(t, err, c.Name)
		require.Less(t, bytes, limit, c.Name)
		require.Greater(t, bytes, limit*9/10, c.Name)
	}
}

// Pods have a priority above that of applications, from a class that every
// cluster takes.
func TestPodsHaveTheirPriority(t *testing.T) {
	install(t)
	classes := objectsIn[schedulingv1.PriorityClass](t, config("default"), "PriorityClass")
	require.Len(t, classes, 1)
	require.Positive(t, classes[0].Value)
	require.False(t, classes[0].GlobalDefault)
	for _, d := range deploymentsOf(t, "default") {
		priority := kubectl(t, podOf(t, d), "create", "--dry-run=server", "-f", "-", "-o", "jsonpath={.spec.priority}")
		require.Equal(t, strconv.Itoa(int(classes[0].Value)), priority, d.Name)
	}
}

// With a second manager one can go without a pause.
func TestManagersComeInPairs(t *testing.T) {
	var manager *appsv1.Deployment
	for _, d := range deploymentsOf(t, "manager") {
		manager = d
	}
	require.EqualValues(t, 2, *manager.Spec.Replicas)
	require.Contains(t, manager.Spec.Template.Spec.Containers[0].Args, "--leader-elect")
	require.NotEmpty(t, manager.Spec.Template.Spec.TopologySpreadConstraints)
}
