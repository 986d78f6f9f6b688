# By id, platform/location/name, or by the platform's own id.
terraform import ml_model.fraud sagemaker/eu-west-1/fraud
terraform import ml_model.fraud arn:aws:sagemaker:eu-west-1:123456789012:model-package-group/fraud
terraform import ml_model.churn kubernetes/ml/churn
