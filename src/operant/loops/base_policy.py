"""stub"""
def ensure_base_policy(world, method, say):
    return None
