"""Jan as Piccolo sees it: one app, whose migrations are all of Jan's."""

from pathlib import Path

from piccolo.conf.apps import AppConfig

APP_NAME = "jan"
MIGRATIONS = Path(__file__).parent / "migrations"

APP_CONFIG = AppConfig(app_name=APP_NAME, migrations_folder_path=str(MIGRATIONS), table_classes=[])
