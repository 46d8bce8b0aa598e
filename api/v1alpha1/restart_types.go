// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// WorkloadKind is a kind of workload that can be rolled out.
// +kubebuilder:validation:Enum=Deployment;StatefulSet;DaemonSet
type WorkloadKind string

// Kinds of workloads, of the API group apps.
const (
	WorkloadDeployment  WorkloadKind = "Deployment"
	WorkloadStatefulSet WorkloadKind = "StatefulSet"
	WorkloadDaemonSet   WorkloadKind = "DaemonSet"
)

// WorkloadReference names a workload of the same namespace.
type WorkloadReference struct {
	// Kind is Deployment, StatefulSet or DaemonSet, of the API group apps.
	// +required
	Kind WorkloadKind `json:"kind"`

	// Name of the workload.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
}

func (w WorkloadReference) String() string { return string(w.Kind) + " " + w.Name }

// Restarts are the workloads that are rolled out when what the app publishes
// changes.
func (a *ConnectedApp) Restarts() []WorkloadReference {
	if a.Spec.Credentials == nil || a.Spec.Credentials.Secret == nil {
		return nil
	}
	return a.Spec.Credentials.Secret.Restart
}
