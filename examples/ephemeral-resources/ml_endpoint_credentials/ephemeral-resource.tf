resource "ml_model" "fraud" {
  platform = "azure_ml"
  name     = "fraud"

  artifact = {
    uri    = "models/fraud.onnx"
    format = "onnx"
  }
}

resource "ml_endpoint" "fraud" {
  platform = "azure_ml"
  name     = "fraud"

  deployments = {
    main = {
      model   = ml_model.fraud.version_id
      compute = { cpu = 2, memory_gib = 4 }
    }
  }

  auth = { mode = "key" }
}

# Read in every run, and kept nowhere: ephemeral.ml_endpoint_credentials.fraud.keys["primary"]
# goes into a write-only attribute, such as that of a secret in a vault.
ephemeral "ml_endpoint_credentials" "fraud" {
  endpoint = ml_endpoint.fraud.id
}
