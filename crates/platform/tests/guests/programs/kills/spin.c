// Two processes that compute for ever.
#include <unistd.h>
int main(void) { fork(); for (;;) ; }
