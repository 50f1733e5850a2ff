"""The deployment: what there is on Google Cloud, declared in steps/, and what makes it so.

A step says what to read, what must be in the answer, and the gcloud command that makes it so. It is
read first and does nothing where all is as declared: so everything here can be run again.
"""
