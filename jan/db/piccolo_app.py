"""Jan as Piccolo sees it: one app, whose migrations are all of Jan's."""

from piccolo.conf.apps import AppConfig

from jan.db.migrate import APP_NAME, MIGRATIONS

APP_CONFIG = AppConfig(app_name=APP_NAME, migrations_folder_path=str(MIGRATIONS), table_classes=[])
