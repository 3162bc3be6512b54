"""Values to render the chart with: those that ship, every switch in its other position, and all."""

from pathlib import Path
from typing import Any

from jan.helm import chart, documents

SHIPPED = sorted(path.name for path in chart.folder().glob("values-*.yaml"))

PROMETHEUS = {"metrics": {"prometheus": "http://prometheus.monitoring:9090"}}
PEERS = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
ACME = {
    "name": "acme",
    "urls": ["https://api.acme.example/v1"],
    "kind": "openai",
    "prefix": "acme/",
    "models": ["large"],
    "maxRunning": 8,
    "apiKey": {"name": "jan-acme", "key": "api-key"},
}
SCALED = {"enabled": True, "kind": "hpa", "queueDepth": 3, "activeStreams": 20, "cpu": 60}
BEHAVIOR = {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}}}
DATABASE = {
    "existingSecret": {
        "name": "jan-database",
        "urlKey": "uri",
        "migrationUrlKey": "owner-uri",
        "directUrlKey": "direct-uri",
        "readUrlsKey": "read-uris",
    },
    "tls": {"mode": "verify-full", "caSecret": {"name": "jan-database-ca", "key": "ca.crt"}},
}
PLACED = {
    "nodeSelector": {"disk": "fast"},
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "priorityClassName": "high",
    "podAnnotations": {"note": "yes"},
    "podLabels": {"team": "ai"},
}
GPU = {"engine": "cuda", "gpus": 2, "memoryFraction": 0.85, "engineArgs": "--seed 1 --dtype half"}

SWITCHES: dict[str, dict[str, Any]] = {
    "existing-secrets": {
        "global": {"secrets": {"existingSecret": "mine"}, "database": {"ownSecret": "mine-too"}}
    },
    "external-database": {"global": {"database": DATABASE}, "postgresql": {"enabled": False}},
    "two-database-secrets": {
        "global": {"database": {"existingSecret": {"name": "app", "migrationName": "owner"}}},
        "postgresql": {"enabled": False},
    },
    "database-tls": {"postgresql": {"tls": {"secretName": "jan-postgresql-tls"}}},
    "database-not-kept": {"postgresql": {"persistence": {"enabled": False}}},
    "image": {
        "global": {
            "image": {
                "registry": "images.example:5000",
                "repository": "ai/jan",
                "digest": "sha256:" + "0" * 64,
                "pullSecrets": ["pull"],
            }
        }
    },
    "image-of-engines": {
        "global": {
            "image": {"registry": "images.example:5000"},
            "modelDefaults": {"image": {"repository": "jan-server-cpu"}},
            "models": [
                {"name": "a"},
                {"name": "b", "image": {"registry": "b.example", "tag": "2"}},
            ],
        }
    },
    "no-models": {"global": {"models": []}},
    "several-models": {
        "global": {
            "models": [
                {"name": "Qwen/Qwen3-8B", "replicas": 2, "maxRunning": 64, **GPU},
                {"name": "BAAI/bge-m3", "source": "jan://models.example/BAAI/bge-m3"},
                {"name": "org/Some_Model.v2", "revision": "main"},
            ]
        }
    },
    "model-not-kept": {"global": {"modelDefaults": {"persistence": {"enabled": False}}}},
    "model-on-a-claim": {"global": {"modelDefaults": {"persistence": {"existingClaim": "all"}}}},
    "models-scaled": {
        "global": {"modelDefaults": {"autoscaling": {**SCALED, **BEHAVIOR, "minReplicas": 2}}}
    },
    "models-scaled-by-keda": {
        "global": {**PROMETHEUS, "modelDefaults": {"autoscaling": {**SCALED, "kind": "keda"}}}
    },
    "models-placed": {
        "global": {"modelDefaults": {**PLACED, "runtimeClassName": "nvidia", "sharedMemory": "8Gi"}}
    },
    "offline": {"inference": {"offline": True}},
    "private-models": {
        "global": {"models": [{"name": "org/private"}]},
        "inference": {"hubToken": {"name": "hub", "key": "token"}, "networkPolicy": {"to": [{}]}},
    },
    "no-network-policies": {"global": {"networkPolicy": {"enabled": False}}},
    "monitored": {
        "global": {
            "networkPolicy": {"monitoring": PEERS},
            "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
            "alerts": {"enabled": True, "labels": {"release": "prometheus"}},
            "dashboard": {"enabled": True, "labels": {"folder": "ai"}},
        }
    },
    "settings": {
        "gateway": {
            "settings": {
                "max_body_bytes": 67108864,
                "drain_grace_s": 12.5,
                "outbound_schemes": [],
                "guest_login": True,
                "public_url": "https://jan.example.com",
                "smtp_sender_email": 'Jan "<&>" <jan@example.com>',
                "organization_admin_emails": ["ann@example.com", "bob@example.com"],
            },
            "secretSettings": {"smtp_password": {"name": "mail", "key": "password"}},
            "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/ssl/ca.pem"}],
        }
    },
    "providers": {"gateway": {"providers": [ACME, {"name": "lab", "urls": ["http://lab:8000"]}]}},
    "gateway-scaled": {"gateway": {"autoscaling": {**SCALED, **BEHAVIOR}}},
    "gateway-scaled-by-keda": {
        "global": PROMETHEUS,
        "gateway": {"autoscaling": {**SCALED, **BEHAVIOR, "kind": "keda"}},
    },
    "gateway-placed": {"gateway": {**PLACED, "replicas": 3, "spread": "DoNotSchedule"}},
    "gateway-bare": {
        "gateway": {"spread": "", "preStopSeconds": 0, "podDisruptionBudget": {"enabled": False}}
    },
    "ingress": {
        "gateway": {
            "ingress": {
                "enabled": True,
                "className": "nginx",
                "hosts": ["jan.example.com", "*.jan.example.org"],
                "tls": {"secretName": "jan-tls"},
            }
        }
    },
    "ingress-of-others": {
        "gateway": {
            "ingress": {
                "enabled": True,
                "hosts": ["jan.example.com"],
                "tls": {"enabled": False},
                "controller": "other",
                "annotations": {"a": "b"},
            }
        }
    },
    "ingress-of-haproxy": {
        "gateway": {
            "ingress": {"enabled": True, "hosts": ["jan.example.com"], "controller": "haproxy"}
        }
    },
    "ingress-of-aws": {
        "gateway": {
            "settings": {"max_body_bytes": 67108864},
            "ingress": {
                "enabled": True,
                "hosts": ["jan.example.com"],
                "controller": "alb",
                "annotations": {"alb.ingress.kubernetes.io/healthcheck-path": "/readyz"},
            },
        }
    },
    "gateway-api": {
        "gateway": {
            "gatewayApi": {
                "enabled": True,
                "parentRefs": [{"name": "public", "namespace": "ingress"}],
                "hostnames": ["jan.example.com"],
                "annotations": {"note": "yes"},
            }
        }
    },
    "closed": {
        "gateway": {"networkPolicy": {"from": PEERS, "restrictEgress": True, "to": [{"to": PEERS}]}}
    },
    "workers": {"gateway": {"worker": {"enabled": True, "replicas": 2}}},
    "workers-scaled": {"gateway": {"worker": {"enabled": True, "autoscaling": SCALED}}},
    "no-migration": {"gateway": {"migration": {"enabled": False}}},
    "valkey": {
        "global": {"valkey": {"enabled": True}},
        "valkey": {"networkPolicy": {"from": PEERS}},
    },
    "valkey-existing-secret": {
        "global": {"valkey": {"enabled": True, "existingSecret": "mine"}},
    },
    "valkey-of-others": {
        "gateway": {"secretSettings": {"redis_url": {"name": "valkey", "key": "url"}}}
    },
    "service": {
        "gateway": {"service": {"type": "LoadBalancer", "port": 80, "annotations": {"a": "b"}}}
    },
    "defaults-taken-away": {"global": {"metrics": {"prometheus": None}, "serviceMonitor": None}},
    "named": {"global": {"nameOverride": "platform"}},
}
TOGETHER = (
    *("external-database", "image", "several-models", "models-scaled-by-keda", "models-placed"),
    *("monitored", "settings", "providers", "gateway-scaled-by-keda", "gateway-placed", "ingress"),
    *("gateway-api", "closed", "workers-scaled", "valkey"),
)

ALL: dict[str, list[str]] = {
    "defaults": [],
    **{name.removesuffix(".yaml"): [name] for name in SHIPPED},
    **{name: [name] for name in SWITCHES},
    "everything": list(TOGETHER),
}


def files(variant: str, folder: Path) -> list[Path]:
    """Files to give to `--values`, the shipped ones where they lie."""
    found: list[Path] = []
    for name in ALL[variant]:
        if name in SHIPPED:
            found.append(chart.folder() / name)
        else:
            found.append(folder / f"{name}.yaml")
            found[-1].write_text(documents.write(SWITCHES[name]), encoding="utf-8")
    return found
