"""What Piccolo looks for by name: its engine, and which folder holds tables and migrations."""

from piccolo.conf.apps import AppRegistry

from jan.db.engine import PICCOLO

DB = PICCOLO
APP_REGISTRY = AppRegistry(apps=["jan.db.piccolo_app"])
