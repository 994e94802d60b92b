use super::other;
use crate::error::{Code, CodeInfo};

pub(super) const CODES: &[CodeInfo] = &[
    other(
        Code::LEASE_LOST,
        "an instance is gone",
        "An instance registered, and has not been heard of for longer than its lease of 15 s. It \
         was taken out of the endpoints of its service.",
        &[
            "The process was killed or crashed.",
            "Its machine or its network is down.",
            "The process hangs, and no longer renews its lease.",
        ],
        &[
            "`meshctl endpoints SERVICE` shows what is left.",
            "Start the instance again; it registers by itself.",
            "Look at why it ended: `journalctl -u UNIT` or the log of the container.",
        ],
    ),
    other(
        Code::UPDATE_REFUSED,
        "a client refused a policy update",
        "A process received a policy that it could not accept, and said so. It stays on its last \
         good policy.",
        &[
            "The process runs an older version that does not know a field.",
            "Its own local policy contradicts the one from the control server.",
        ],
        &[
            "`meshctl clients` shows who refused, which field, and the revision in force there.",
            "Upgrade the process, or take the field out of the policy: `meshctl policy apply FILE`.",
        ],
    ),
    other(
        Code::STATE_UNUSABLE,
        "the state directory cannot be used",
        "The directory for state cannot be written, or what is in it cannot be read. A process \
         goes on without it, but after a restart it needs the control server to be ready.",
        &[
            "The directory belongs to another user, or others may write to it.",
            "The disk is full or read-only.",
            "A file in it is damaged; it is set aside and written anew.",
        ],
        &[
            "`ls -ld DIR` must show mode 0700 and the user of the process.",
            "`df -h DIR` shows whether there is room.",
        ],
    ),
    other(
        Code::CLIENT_BEHIND,
        "a client runs an older policy",
        "A process has not confirmed the present revision of the policy for longer than an update \
         takes.",
        &[
            "Its connection to the control server is down.",
            "It refused the update (M5002).",
            "It hangs.",
        ],
        &[
            "`meshctl clients` shows the revision of each process and when it was last heard of.",
            "Restart the process if it hangs: it starts from its last good policy.",
        ],
    ),
    other(
        Code::ENDPOINT_FAILING,
        "an endpoint fails or is slow against its peers",
        "Callers report that one endpoint fails more often, or answers more slowly, than the \
         others of its service. Calls go to the others as far as possible.",
        &[
            "The instance is broken: a bad release, a full disk, a lost dependency.",
            "Its machine is overloaded.",
            "It is starting, and not warm yet.",
        ],
        &[
            "`meshctl endpoints SERVICE` compares the endpoints and says what was ejected, and why.",
            "Look at the log of the instance, or restart it.",
        ],
    ),
    other(
        Code::TRAFFIC_DENIED,
        "calls are denied by policy",
        "In the last seconds a service refused calls because of its access policy (M4001). Either \
         a caller does what it should not, or the policy is too narrow.",
        &[
            "An access policy was changed and leaves out a caller.",
            "A new caller, or a new path, is not in the policy yet.",
            "Someone calls who should not.",
        ],
        &[
            "`meshctl stat --to SERVICE` shows who is denied.",
            "`meshctl explain SERVICE` shows the rules in force.",
            "Correct the `AccessPolicy` and apply it: `meshctl policy apply FILE`.",
        ],
    ),
    other(
        Code::PEERS_REFUSED,
        "peers' certificates are refused",
        "Processes report that handshakes with a service fail because its certificate, or theirs, \
         is refused (M4002, M4003, M4004). Calls between them fail closed.",
        &[
            "A certificate expired and was not renewed.",
            "An instance has a certificate of another authority or another service.",
            "The trust bundle was changed on one side only.",
        ],
        &[
            "`meshctl clients` shows the identity and expiry of each process.",
            "Restart the instance with a valid join token in `MESH_IDENTITY`.",
            "`meshctl check` is ok again once handshakes succeed.",
        ],
    ),
    other(
        Code::SPLIT_BYPASSED,
        "calls come past the split of a route",
        "A backend of a weighted split receives calls that the split did not send there, so its share \
         is larger than its weight. The finding names who calls past the split.",
        &[
            "A caller uses the backend's own name instead of the service's.",
            "A caller is not in the mesh, and finds the instances by DNS or a load balancer.",
            "A caller's process is old and has not been restarted with the mesh.",
        ],
        &[
            "Have the caller use the service's own name: `meshctl explain SERVICE` shows the split.",
            "`meshctl stat --to BACKEND` shows who calls it.",
        ],
    ),
    other(
        Code::NOT_IN_MESH,
        "callers are not in the mesh",
        "A service receives calls over connections without an identity. It takes them because its \
         transport policy is `Permissive`, or excepts their source; a switch to `Strict` would cut \
         them off. Under `Strict` the finding names those who try, and are refused.",
        &[
            "A workload was started without the mesh's library or shim.",
            "A job, a probe or a third party that cannot join.",
        ],
        &[
            "Start the workload with the library, or by `mesh-shim run -- COMMAND`.",
            "For one that cannot join, add an exception for its source with an end date to the \
             `TransportPolicy`, then switch to `Strict`.",
            "`meshctl check` lists every source that is left.",
        ],
    ),
    other(
        Code::EXCEPTION_ENDS,
        "an exception from mutual TLS ends",
        "An exception in a `TransportPolicy` lets callers in without an identity until a date. The date is \
         less than seven days away, or has passed: from then on they are refused, and connections that \
         they hold are cut.",
        &[
            "The caller was to join the mesh by that date, and has not.",
            "The exception has done its work and was not taken out.",
        ],
        &[
            "The finding names the addresses that still use it: start them with the library, or by \
             `mesh-shim run -- COMMAND`.",
            "If it needs more time, set a later `expires` and apply: `meshctl policy apply FILE`.",
            "If nobody uses it, take it out of the `TransportPolicy`.",
        ],
    ),
];
