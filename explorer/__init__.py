"""The explorer: a Streamlit app in which a latent point follows the hand."""
