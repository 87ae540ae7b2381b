"""The local SageMaker: runs the image as the service would."""
