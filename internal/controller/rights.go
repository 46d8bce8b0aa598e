// SPDX-License-Identifier: Apache-2.0

package controller

// What the manager may do, in one place, since it is one ServiceAccount; the
// roles in config/rbac are generated from it. TestTheManagerUsesItsRights holds
// it against what a manager does through the life of its objects: no more, no
// less, and nothing twice.
//
// In the whole cluster: TokenServers, the labels of namespaces, which access
// rules select by, and who may read metrics.
//
// +kubebuilder:rbac:groups=connectedapps.dev,resources=tokenservers,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=connectedapps.dev,resources=tokenservers/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create
//
// In each namespace it serves, which are all or those of --namespaces, and its
// own: apps and tokens, their Secrets, the ConfigMaps of apps without a secret and
// those with public keys, and the Pods that may hold a client secret which was
// replaced. The name tenant stands for the namespace. To restart workloads there is a
// right of config/components/restart, which nobody has to give.
//
// +kubebuilder:rbac:groups=connectedapps.dev,resources=connectedapps;accesstokens,namespace=tenant,roleName=connectedapps-manager-tenant-role,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=connectedapps.dev,resources=connectedapps/status;accesstokens/status,namespace=tenant,roleName=connectedapps-manager-tenant-role,verbs=patch
// +kubebuilder:rbac:groups="",resources=secrets,namespace=tenant,roleName=connectedapps-manager-tenant-role,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=configmaps,namespace=tenant,roleName=connectedapps-manager-tenant-role,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=pods,namespace=tenant,roleName=connectedapps-manager-tenant-role,verbs=list
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,namespace=tenant,roleName=connectedapps-manager-tenant-role,verbs=create;patch
//
// In its own namespace, beside these: to be the leader and say so, in an Event
// of the older kind; to remember clients whose objects are gone, and who the
// token servers are; to log in as its own ServiceAccount; and to make what the
// bundled token server needs. The names of these are known, so that to change is
// allowed for them alone.
//
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,namespace=connectedapps-system,verbs=get;create;update
// +kubebuilder:rbac:groups="",resources=events,namespace=connectedapps-system,verbs=create
// +kubebuilder:rbac:groups="",resources=configmaps,namespace=connectedapps-system,verbs=update
// +kubebuilder:rbac:groups="",resources=serviceaccounts/token,resourceNames=connectedapps-manager,namespace=connectedapps-system,verbs=create
// +kubebuilder:rbac:groups="",resources=secrets,resourceNames=tokenserver-keys;tokenserver-ca;tokenserver-tls,namespace=connectedapps-system,verbs=update
