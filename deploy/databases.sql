-- Run once by PostgreSQL's image, which makes `prefect` itself.
CREATE DATABASE mlflow OWNER knotwatch;
