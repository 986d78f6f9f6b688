# A local file is copied once to the provider's staging_uri.
resource "ml_model" "fraud" {
  platform    = "sagemaker"
  name        = "fraud"
  description = "Scores card payments for fraud"

  artifact = {
    uri    = "models/fraud.onnx"
    format = "onnx"
  }

  aliases         = ["champion"]
  metadata        = { git_commit = "4c1f0de" }
  retain_versions = 5
}

# A container of your own, which finds the model in /opt/ml/model.
resource "ml_model" "ranking" {
  platform = "sagemaker"
  name     = "ranking"
  approval = "pending" # no endpoint serves it before it is approved

  artifact = {
    uri    = "models/ranking"
    format = "custom"
  }
  serving = {
    image = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/ranking:1.4.2"
    env   = { WORKERS = "2" }
  }
}

# In a cluster: a container of your own finds the model through ML_MODEL_DIR.
resource "ml_model" "churn" {
  platform = "kubernetes"
  name     = "churn"
  location = "ml" # the namespace

  artifact = {
    uri    = "models/churn.onnx"
    format = "custom"
  }
  serving = {
    image    = "ghcr.io/example/scorer:2.1.0"
    protocol = "v2"
    port     = 8080
  }
}
