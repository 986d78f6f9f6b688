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
